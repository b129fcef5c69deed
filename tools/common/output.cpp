#include "tools/common/output.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/signals.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <climits>

namespace pmemstream::tools {

output::output() {
    struct stat st {};
    regular_file_ = ::fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    buffer_.reserve(flush_bytes * 2);
}

void output::flush() {
    // A write that blocks would not let a signal in. A pipe that is ready takes PIPE_BUF bytes without blocking.
    const bool stay_interruptible = signals::are_caught() && !regular_file_;
    std::size_t done = 0;
    bool wait = stay_interruptible;
    while (done < buffer_.size()) {
        if (wait) {
            pollfd out{STDOUT_FILENO, POLLOUT, 0};
            const bool leaving = signals::seen() != 0;
            signals::poll({&out, 1}, leaving ? signals::limit(std::chrono::nanoseconds(0)) : std::nullopt);
            if (out.revents == 0) {
                if (!leaving)
                    continue;
                buffer_.erase(0, done);
                throw interrupted{signals::seen()};
            }
        }
        const std::size_t left = buffer_.size() - done;
        const ssize_t got = ::write(STDOUT_FILENO, buffer_.data() + done,
                                    stay_interruptible ? std::min<std::size_t>(left, PIPE_BUF) : left);
        if (got >= 0) {
            done += static_cast<std::size_t>(got);
            wait = stay_interruptible;
        } else if (errno == EAGAIN) {
            wait = true;
        } else if (errno != EINTR) {
            const int why = errno;
            buffer_.clear();
            if (why == EPIPE)
                throw reader_gone{};
            fail_with_errno(why, "standard output");
        }
    }
    buffer_.clear();
}

void output::finish() {
    flush();
    if (::close(STDOUT_FILENO) != 0 && errno != EINTR)
        fail_with_errno(errno, "standard output");
}

void output::check_reader() const {
    pollfd out{STDOUT_FILENO, 0, 0};
    signals::poll({&out, 1}, std::chrono::nanoseconds(0));
    if ((out.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        throw reader_gone{};
}

}  // namespace pmemstream::tools
