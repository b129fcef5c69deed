#include "ipc/control_place.hpp"

#include "src/base/failure.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <cerrno>
#include <filesystem>

namespace pmemstream::ipc {

result<control_place> control_place::beside(const std::string& stream_path, std::uint64_t device, std::uint64_t inode) {
    const std::filesystem::path stream(stream_path);
    control_place self;
    self.stream_name_ = stream.filename().string();
    self.path_ = stream_path + ".ctl";
    self.name_ = self.stream_name_ + ".ctl";
    self.temporary_ = fmt::format("{}.{}", self.name_, ::getpid());
    self.directory_ = base::unique_fd(::open(stream.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    self.device_ = device;
    self.inode_ = inode;
    if (!self.directory_)
        return base::system_failure(errno, "{}: opening the directory of the stream", self.path_);
    if (auto fine = self.check_stream(); !fine)
        return tl::unexpected(std::move(fine.error()));
    return self;
}

result<void> control_place::check_stream() const {
    struct stat st {};
    if (::fstatat(directory_.get(), stream_name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return base::system_failure(errno, "{}: looking for the stream that it is to lie beside", path_);
    if (st.st_dev != device_ || st.st_ino != inode_)
        return base::failure(errc::not_found, "{}: beside it is another file by now, not the stream that was opened",
                             path_);
    return {};
}

base::unique_fd control_place::open(int flags) const noexcept {
    // O_NONBLOCK: a FIFO of that name must not hang the caller.
    return base::unique_fd(
        ::openat(directory_.get(), name_.c_str(), flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}

bool control_place::look(struct stat& st) const noexcept {
    return ::fstatat(directory_.get(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

base::unique_fd control_place::create_temporary() const noexcept {
    remove_temporary();
    return base::unique_fd(
        ::openat(directory_.get(), temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

void control_place::remove_temporary() const noexcept {
    ::unlinkat(directory_.get(), temporary_.c_str(), 0);
}

bool control_place::put_in_place() const noexcept {
    return ::renameat(directory_.get(), temporary_.c_str(), directory_.get(), name_.c_str()) == 0;
}

}  // namespace pmemstream::ipc
