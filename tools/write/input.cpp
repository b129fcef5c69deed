#include "tools/write/input.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/text.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <utility>

namespace pmemstream::tools {

namespace {

constexpr std::size_t first_bytes = 256 << 10;

int open_to_read(const std::string& file) {
    // O_NONBLOCK: to open a FIFO that nobody writes to would wait, with the signals blocked. fill() waits for what
    // comes, and lets them in.
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        fail_with_errno(errno, printable(file));
    return fd;
}

}  // namespace

input::input(int fd, std::string name, bool owned) : name_(std::move(name)), fd_(fd), owned_(owned) {
    struct stat st {};
    regular_file_ = ::fstat(fd_, &st) == 0 && S_ISREG(st.st_mode);
    data_.resize(first_bytes);
}

input::input(const std::string& file) : input(open_to_read(file), printable(file), true) {}

input::~input() {
    if (owned_)
        ::close(fd_);
}

void input::make_room() {
    if (begin_ == end_)
        begin_ = end_ = 0;
    if (data_.size() - end_ >= first_bytes / 4)
        return;
    if (begin_ >= data_.size() / 2) {
        std::memmove(data_.data(), data_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
        return;
    }
    data_.resize(data_.size() * 2);
}

input::got input::fill() {
    make_room();
    for (;;) {
        signals::limit left;
        if (deadline_) {
            left = *deadline_ - std::chrono::steady_clock::now();
            if (left->count() <= 0)
                return got::late;
        }
        pollfd in{fd_, POLLIN, 0};
        signals::poll({&in, 1}, left);
        if (signals::seen() != 0)
            return got::signal;
        if (in.revents == 0)
            continue;
        const ssize_t bytes = ::read(fd_, data_.data() + end_, data_.size() - end_);
        if (bytes > 0) {
            end_ += static_cast<std::size_t>(bytes);
            return got::bytes;
        }
        if (bytes == 0)
            return got::end;
        if (errno != EINTR && errno != EAGAIN)
            fail_with_errno(errno, name_);
    }
}

}  // namespace pmemstream::tools
