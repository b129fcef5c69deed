#pragma once

#include <sys/stat.h>
#include <cstdint>

namespace pmemstream::base {

/// What a stream lies in: a file, or a block device that has no file system.
struct backing {
    bool is_device = false;
    std::uint64_t bytes = 0;
    /// Together they tell it from every other one of this boot. Of a device: its number, and the number that the kernel
    /// gave to what is behind it, which changes when it is taken away and comes back.
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
};

/// What `fd` is open on; `st` is its. Neither a file nor a block device: ENOTSUP. Returns an errno value or 0.
[[nodiscard]] int look_at_backing(int fd, const struct stat& st, backing& found) noexcept;

/// What to call something that cannot hold a stream.
[[nodiscard]] const char* kind_of_file(const struct stat& st) noexcept;

}  // namespace pmemstream::base
