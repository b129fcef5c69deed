#include "ipc/file_lock.hpp"

#include "ipc/fork_watch.hpp"
#include "src/base/failure.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <optional>
#include <utility>

namespace pmemstream::ipc {

struct file_lock::state {
    int fd = -1;
    std::optional<fork_watch> watch;

    ~state() { close(); }
    void close() noexcept {
        base::fork_hook::without_forks([this] {
            if (fd >= 0)
                ::close(std::exchange(fd, -1));
        });
    }
};

namespace {
struct flock lock_of(short type, std::uint64_t start, std::uint64_t bytes) noexcept {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(start);
    lock.l_len = static_cast<off_t>(bytes);
    return lock;
}
}  // namespace

file_lock::file_lock(std::unique_ptr<state> held) noexcept : state_(std::move(held)) {}
file_lock::~file_lock() = default;

void file_lock::drop() noexcept {
    state_->close();
}

result<std::unique_ptr<file_lock>> file_lock::take(const std::string& path, int data_fd, kind which,
                                                   std::uint32_t* fault_word, std::uint32_t* count) {
    auto held = std::make_unique<state>();
    const bool exclusive = which == kind::exclusive;
    struct stat mine {
    }, data{};
    if (::fstat(data_fd, &data) != 0)
        return base::system_failure(errno, "{}: looking at it", path);
    // A lock belongs to the inode of a device's node, of which there may be several, and keeps no file system from being
    // mounted. Exclusive use is the device's own, and ends with the descriptor as the lock does.
    const int exclusive_use = exclusive && S_ISBLK(data.st_mode) ? O_EXCL : 0;
    held->watch.emplace(&held->fd, fault_word, count);
    int why = 0;
    base::fork_hook::without_forks([&] {
        held->fd = ::open(path.c_str(), (exclusive ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | exclusive_use);
        why = errno;
    });
    if (held->fd < 0 && why == EBUSY && exclusive_use != 0)
        return is_locked(data_fd, false)
                   ? base::failure(errc::writer_busy, "{}: another writer holds the lock", path)
                   : base::failure(errc::device_busy,
                                   "{}: the device is in use: mounted, part of another device, or written to under "
                                   "another name",
                                   path);
    if (held->fd < 0)
        return base::system_failure(why, "{}: opening it to lock it", path);
    if (::fstat(held->fd, &mine) != 0)
        return base::system_failure(errno, "{}: looking at it", path);
    if (mine.st_dev != data.st_dev || mine.st_ino != data.st_ino)
        return base::failure(errc::io, "{}: the file was replaced while it was being opened; try again", path);

    auto wanted = lock_of(exclusive ? F_WRLCK : F_RDLCK, 0, 0);
    while (::fcntl(held->fd, F_OFD_SETLK, &wanted) != 0) {
        if (errno != EAGAIN && errno != EACCES)
            return base::system_failure(errno, "{}: locking", path);
        auto holder = lock_of(exclusive ? F_WRLCK : F_RDLCK, 0, 0);
        if (::fcntl(held->fd, F_OFD_GETLK, &holder) != 0)
            return base::system_failure(errno, "{}: asking who holds the lock", path);
        if (holder.l_type == F_RDLCK)
            return base::failure(errc::blocked_by_reader, "{}: a reader holds a shared lock that keeps writers out",
                                 path);
        if (holder.l_type == F_WRLCK)
            return base::failure(errc::writer_busy, "{}: another writer holds the lock", path);
        // It was given up between the two questions.
    }
    return std::unique_ptr<file_lock>(new file_lock(std::move(held)));
}

bool is_locked(int fd, bool exclusive, std::uint64_t start, std::uint64_t bytes) noexcept {
    auto question = lock_of(exclusive ? F_WRLCK : F_RDLCK, start, bytes);
    return ::fcntl(fd, F_OFD_GETLK, &question) == 0 && question.l_type != F_UNLCK;
}

}  // namespace pmemstream::ipc
