#pragma once

#include "src/base/backing.hpp"
#include "src/base/unique_fd.hpp"
#include "src/format/entry.hpp"
#include "src/format/layout.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// A stream's file that may be damaged anywhere: it is read, never mapped, so that neither a bad sector nor a
/// truncation meanwhile ends the process. Reads go through the page cache and show what a live writer stored.
class media {
public:
    /// Ends the tool when there is nothing to read.
    explicit media(const std::filesystem::path& file);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return backing_.bytes; }

    /// False where some of it could not be read; zeros stand there.
    bool read(std::uint64_t offset, std::span<std::byte> to) const;
    template <class T>
    [[nodiscard]] T at(std::uint64_t offset) const {
        T value{};
        read(offset, std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }
    /// How many bytes could not be read so far.
    [[nodiscard]] std::uint64_t unreadable_bytes() const noexcept { return unreadable_bytes_; }

    /// A writer holds its lock now.
    [[nodiscard]] bool writer_alive() const noexcept;
    /// The offsets in this header are of this boot and this file.
    [[nodiscard]] bool is_own_identity(const format::identity_line& identity) const;

    /// Extends a CRC register by bytes of the file.
    [[nodiscard]] std::uint32_t extend_crc(std::uint32_t state, std::uint64_t offset, std::uint64_t bytes) const;

private:
    std::string name_;
    base::unique_fd fd_;
    base::backing backing_;
    mutable std::uint64_t unreadable_bytes_ = 0;
    mutable std::vector<std::byte> scratch_;
};

/// A piece of the file kept in memory, for one who walks forward.
class window {
public:
    window(const media& from, std::size_t capacity)
        : from_(&from), capacity_(capacity), read_ahead_(capacity < 2048 ? capacity : 2048) {}

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// `bytes` of them from `offset`, at most the capacity. Valid until the next call.
    [[nodiscard]] const std::byte* view(std::uint64_t offset, std::size_t bytes) {
        if (offset < begin_ || offset - begin_ > buffer_.size() || buffer_.size() - (offset - begin_) < bytes)
            load(offset, bytes);
        return buffer_.data() + (offset - begin_);
    }
    template <class T>
    [[nodiscard]] T at(std::uint64_t offset) {
        T value;
        std::memcpy(&value, view(offset, sizeof value), sizeof value);
        return value;
    }
    /// The CRC register after the payload of the entry there, whose header is `header`; see format::payload_crc_state. What
    /// does not fit the window is read past it.
    [[nodiscard]] std::uint32_t payload_state(std::uint64_t offset, const format::entry_header& header,
                                              std::uint32_t seed);

private:
    void load(std::uint64_t offset, std::size_t bytes);

    const media* from_;
    std::size_t capacity_;
    std::size_t read_ahead_;  // grows: most regions of a stream with many are small
    std::uint64_t begin_ = 0;
    std::vector<std::byte> buffer_;
};

/// The capacity of each of `count` windows, so that all together stay in bounds.
[[nodiscard]] std::size_t window_bytes_for(std::size_t count) noexcept;

}  // namespace pmemstream::tools
