#include "src/base/backing.hpp"

#include <linux/fs.h>
#include <stddef.h>  // for BLKGETSIZE64
#include <sys/ioctl.h>
#include <cerrno>

namespace pmemstream::base {

namespace {
// Since Linux 5.15; older headers do not name it.
constexpr unsigned long get_disk_sequence = _IOR(0x12, 128, std::uint64_t);
}  // namespace

int look_at_backing(int fd, const struct stat& st, backing& found) noexcept {
    if (S_ISREG(st.st_mode)) {
        found = {.is_device = false,
                 .bytes = static_cast<std::uint64_t>(st.st_size),
                 .device = st.st_dev,
                 .inode = st.st_ino};
        return 0;
    }
    if (!S_ISBLK(st.st_mode))
        return ENOTSUP;
    found = {.is_device = true, .bytes = 0, .device = st.st_rdev, .inode = 0};
    if (::ioctl(fd, BLKGETSIZE64, &found.bytes) != 0)
        return errno;
    if (::ioctl(fd, get_disk_sequence, &found.inode) != 0)
        found.inode = 0;
    return 0;
}

const char* kind_of_file(const struct stat& st) noexcept {
    return S_ISDIR(st.st_mode) ? "directory" : "special file";
}

}  // namespace pmemstream::base
