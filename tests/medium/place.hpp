#pragma once

#include "tests/support/temp_dir.hpp"

#include <pmemstream/types.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::test {

/// The medium that this run of the suite is about: see suite_main.cpp.
struct place {
    std::filesystem::path path;  ///< a directory to make files in, or a block device, whose content goes
    bool is_device = false;
    page_sync sync_by = page_sync::automatic;
    std::optional<granularity> expected;
    bool expected_forced = false;
    std::filesystem::path loop_backing;  ///< where the device is a loop device of this run

    static place& chosen();
};

/// Room on it: a file of its own, gone at the end, or the beginning of the device.
class room {
public:
    static constexpr std::uint64_t bytes = std::uint64_t{16} << 20;

    room();

    /// Where a stream may be made.
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    /// Something of `bytes` bytes there that reads as zeros, opened to be mapped.
    [[nodiscard]] int open_zeros() const;
    /// All of it as it is now, and another file beside it (or beside the device's) with that content.
    [[nodiscard]] std::filesystem::path copy() const;

private:
    std::unique_ptr<temp_dir> dir_;
    std::filesystem::path path_;
};

/// Bytes of this process' pages in a stretch of memory that have changed since they were last written to the medium.
[[nodiscard]] std::uint64_t dirty_bytes(const std::byte* begin, std::size_t bytes);

}  // namespace pmemstream::test
