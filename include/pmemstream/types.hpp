#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace pmemstream {

/// Strictly increasing sequence number of an entry over the whole stream. The first is 1; 0 names no entry.
enum class sequence : std::uint64_t { none = 0 };

/// Bytes from the start of the stream's file.
enum class offset : std::uint64_t {};

[[nodiscard]] constexpr std::uint64_t to_uint(sequence value) noexcept {
    return static_cast<std::uint64_t>(value);
}
[[nodiscard]] constexpr std::uint64_t to_uint(offset value) noexcept {
    return static_cast<std::uint64_t>(value);
}

using uuid = std::array<std::byte, 16>;

/// The largest payload of one entry: its size is kept in 32 bits, and an entry with header and padding must be
/// addressable in as many.
inline constexpr std::uint64_t payload_bytes_max = 0xffff'ffff - 64;

/// Longest name of a region, in bytes.
inline constexpr std::size_t region_name_bytes_max = 63;

/// Names a region for as long as its storage lives: freeing or clearing it ends the generation, and every use of the
/// handle from then on answers region_gone. A plain value, valid in every process that has the stream open.
class region {
public:
    constexpr region() noexcept = default;
    constexpr region(std::uint32_t index, std::uint64_t generation) noexcept : generation_(generation), index_(index) {}

    /// Position in the region table.
    [[nodiscard]] constexpr std::uint32_t index() const noexcept { return index_; }
    /// Unique in the stream and growing with every allocation and clearing; 0 names no region.
    [[nodiscard]] constexpr std::uint64_t generation() const noexcept { return generation_; }

    friend constexpr bool operator==(const region&, const region&) noexcept = default;

private:
    std::uint64_t generation_ = 0;
    std::uint32_t index_ = 0;
};

/// The two words of every guarantee: how far a reader looks, and where an append returns.
enum class horizon : std::uint8_t {
    committed,  ///< published to readers; survives the death of any process. Lowest latency
    persisted,  ///< survives power loss as well
};

/// What a medium makes durable at once.
enum class granularity : std::uint8_t { byte, cache_line, page };

/// How pages are made durable, on a medium that makes nothing smaller durable at once.
enum class page_sync : std::uint8_t {
    automatic,     ///< what is fastest for each sync, of both; system calls where the kernel lacks or forbids io_uring
    system_calls,  ///< msync for one range of the file, fdatasync for several
    io_uring,      ///< every sync goes through io_uring
};

}  // namespace pmemstream
