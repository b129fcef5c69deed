#include "src/reader/copy_up_watch.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <chrono>

namespace pmemstream::core {

namespace {

constexpr std::uint32_t overlayfs_magic = 0x794c7630;  // statfs(2)
constexpr std::chrono::nanoseconds look_distance = std::chrono::milliseconds(250);

std::int64_t now_ns() noexcept {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class T>
bool read_at(int fd, std::uint64_t offset, T& to) noexcept {
    return ::pread(fd, &to, sizeof to, static_cast<off_t>(offset)) == static_cast<ssize_t>(sizeof to);
}

}  // namespace

std::unique_ptr<copy_up_watch> copy_up_watch::make_if_needed(const stream_file& file) {
    struct statfs fs {};
    if (file.backing().is_device || ::fstatfs(file.fd(), &fs) != 0 ||
        static_cast<std::uint32_t>(fs.f_type) != overlayfs_magic)
        return nullptr;
    return std::unique_ptr<copy_up_watch>(new copy_up_watch(file));
}

copy_up_watch::copy_up_watch(const stream_file& file) noexcept
    : file_(file), next_look_ns_(now_ns() + look_distance.count()) {}

bool copy_up_watch::happened() noexcept {
    if (happened_.load(std::memory_order_relaxed))
        return true;
    const std::int64_t now = now_ns();
    std::int64_t due = next_look_ns_.load(std::memory_order_relaxed);
    if (now < due || !next_look_ns_.compare_exchange_strong(due, now + look_distance.count()))
        return false;
    if (look())
        happened_.store(true, std::memory_order_relaxed);
    return happened_.load(std::memory_order_relaxed);
}

bool copy_up_watch::look() const noexcept {
    const base::unique_fd fd(::open(file_.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    struct stat st {};
    // A file that was deleted, or may not be opened any more, goes on as it does elsewhere.
    if (!fd || ::fstat(fd.get(), &st) != 0)
        return false;
    if (st.st_dev != file_.device() || st.st_ino != file_.inode())
        return true;
    // Both may stay the same over a copy-up; what is in the file does not. Read first, and the mapping looked at after
    // it: where both show one file, the mapping is never behind.
    format::superblock block{};
    format::identity_line identity{};
    format::stream_commit_line commit{};
    if (!read_at(fd.get(), format::superblock_offset, block) || !read_at(fd.get(), format::header_offset, identity) ||
        !read_at(fd.get(), format::header_offset + offsetof(format::shared_header, commit), commit))
        return true;
    const auto& mapped = file_.header();
    return block.uuid != file_.superblock().uuid || format::epoch_of(identity.epoch) > file_.epoch() ||
           commit.sequence > base::load_acquire(mapped.commit.sequence);
}

tl::unexpected<error> copy_up_watch::failure() const {
    return base::failure(errc::io,
                         "{}: was copied up in its overlay file system, or replaced, after it was mapped here, where "
                         "nothing new can appear: open it again",
                         file_.name());
}

}  // namespace pmemstream::core
