#pragma once

#include "src/base/crc32c.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// A log by hand, as fast as this machine can be asked to be: a header, the payload, and a commit offset that is stored
// with release order. No region, no check, nobody to wake. The limits are made of it. Positions are kept in the loops'
// own variables, so that no store to the log can make the compiler load them again.
namespace bench {

/// As large as an entry's header.
struct raw_header {
    std::uint32_t payload_bytes;
    std::uint32_t crc;
    std::uint64_t number;
};
static_assert(sizeof(raw_header) == 16);

/// In the stream, and in the raw log.
[[nodiscard]] constexpr std::uint64_t entry_bytes(std::uint64_t payload_bytes) noexcept {
    return sizeof(raw_header) + ((payload_bytes + 7) & ~std::uint64_t{7});
}

/// Where a raw log lies: its commit offset has 128 bytes of its own before the entries.
struct raw_log {
    std::uint64_t* commit_offset;
    std::byte* entries;

    explicit raw_log(std::byte* memory) noexcept
        : commit_offset(reinterpret_cast<std::uint64_t*>(memory)), entries(memory + head_bytes) {}
    static constexpr std::uint64_t head_bytes = 128;
};

/// Header, copy, release store. Returns where the next entry goes.
[[gnu::always_inline]] inline std::uint64_t raw_append(const raw_log& to, std::uint64_t position,
                                                       std::span<const std::byte> payload,
                                                       std::uint64_t number) noexcept {
    const raw_header header{static_cast<std::uint32_t>(payload.size()), 0, number};
    std::memcpy(to.entries + position, &header, sizeof header);
    std::memcpy(to.entries + position + sizeof header, payload.data(), payload.size());
    position += entry_bytes(payload.size());
    __atomic_store_n(to.commit_offset, position, __ATOMIC_RELEASE);
    return position;
}

/// The same with the CRC32C of payload and header, computed while the bytes are copied: the best way known to this
/// library on this processor, the same that its appends go.
[[gnu::always_inline]] inline std::uint64_t raw_append_with_crc(const raw_log& to, std::uint64_t position,
                                                                std::span<const std::byte> payload,
                                                                std::uint64_t number) noexcept {
    namespace base = pmemstream::base;
    std::uint32_t crc = base::crc32c_copy(~std::uint32_t{0}, to.entries + position + sizeof(raw_header), payload.data(),
                                          payload.size());
    crc = base::crc32c_extend_u64(crc, payload.size());
    crc = ~base::crc32c_extend_u64(crc, number);
    const raw_header header{static_cast<std::uint32_t>(payload.size()), crc, number};
    std::memcpy(to.entries + position, &header, sizeof header);
    position += entry_bytes(payload.size());
    __atomic_store_n(to.commit_offset, position, __ATOMIC_RELEASE);
    return position;
}

/// The payload of the entry at `position`, once it is committed.
[[gnu::always_inline]] inline std::span<const std::byte> raw_await(const raw_log& from,
                                                                   std::uint64_t position) noexcept {
    while (__atomic_load_n(from.commit_offset, __ATOMIC_ACQUIRE) <= position) {
    }
    raw_header header;
    std::memcpy(&header, from.entries + position, sizeof header);
    return {from.entries + position + sizeof header, header.payload_bytes};
}

/// Looks at every cache line of a payload, so that all of it has to come to the reader.
[[gnu::always_inline]] inline std::uint64_t touch_lines(std::span<const std::byte> payload) noexcept {
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < payload.size(); at += 64)
        sum += std::to_integer<std::uint64_t>(payload[at]);
    return sum;
}

}  // namespace bench
