#pragma once

#include "src/base/unique_fd.hpp"
#include "tests/support/test_numbers.hpp"

#include <pmemstream/writer.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::test {

/// A stretch of a stream's file and what it is: a struct as docs/format.md names it. `begin` is where the struct
/// begins, and from where the bytes of the page are counted.
struct piece {
    std::string structure;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

/// Every byte of a stream that nobody has damaged, in order.
[[nodiscard]] std::vector<piece> pieces_of(std::span<const std::byte> image);

[[nodiscard]] std::vector<std::byte> read_file(const std::filesystem::path& file);

/// A file that is damaged and repaired over and over.
class scratch_file {
public:
    scratch_file(std::filesystem::path path, std::span<const std::byte> content);
    void write(std::uint64_t offset, std::span<const std::byte> bytes) const;
    void put(std::uint64_t offset, std::byte value) const { write(offset, {&value, 1}); }
    /// Content and size.
    void reset(std::span<const std::byte> content) const;
    void truncate(std::uint64_t bytes) const;
    [[nodiscard]] bool holds(std::span<const std::byte> content) const;
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::uint64_t device() const noexcept { return device_; }
    [[nodiscard]] std::uint64_t inode() const noexcept { return inode_; }

private:
    std::filesystem::path path_;
    base::unique_fd fd_;
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
};

/// A small closed stream in blocks of 64 with regions in two table segments, free slots, batches, fillers, empty
/// entries.
void make_small_stream(const std::filesystem::path& file);
/// The same with a writer at work, who has appended four entries of 20 bytes to "large": as good as one that was killed.
[[nodiscard]] std::unique_ptr<writer> make_stream_in_use(const std::filesystem::path& file);

}  // namespace pmemstream::test
