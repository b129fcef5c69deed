#include "tests/support/child.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <system_error>
#include <utility>

namespace pmemstream::test {

record_pipe::record_pipe() {
    int ends[2];
    if (::pipe(ends) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe");
    read_ = ends[0];
    write_ = ends[1];
}

record_pipe::~record_pipe() {
    keep_read_end();
    if (read_ >= 0)
        ::close(read_);
}

void record_pipe::keep_read_end() {
    if (write_ >= 0)
        ::close(std::exchange(write_, -1));
}

void record_pipe::keep_write_end() {
    if (read_ >= 0)
        ::close(std::exchange(read_, -1));
}

void record_pipe::write(std::uint64_t value) const {
    while (::write(write_, &value, sizeof value) != static_cast<ssize_t>(sizeof value))
        if (errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "writing to a pipe");
}

std::optional<std::uint64_t> record_pipe::read() const {
    std::uint64_t value = 0;
    for (;;) {
        const ssize_t got = ::read(read_, &value, sizeof value);
        if (got == static_cast<ssize_t>(sizeof value))
            return value;
        if (got == 0)
            return std::nullopt;
        if (errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "reading from a pipe");
    }
}

namespace {
child_exit translate(int status) {
    return WIFSIGNALED(status) ? child_exit{true, WTERMSIG(status)} : child_exit{false, WEXITSTATUS(status)};
}
}  // namespace

child::child(const std::function<int()>& body) {
    std::fflush(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0)
        throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ != 0)
        return;
    // A test that is killed leaves nobody behind.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int code = 99;
    if (::getppid() == parent) {
        try {
            code = body();
        } catch (const std::exception& e) {
            std::fprintf(stderr, "in a child process: %s\n", e.what());
        }
    }
    std::fflush(nullptr);
    ::_exit(code);
}

child::child(child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), exit_(other.exit_) {}

child::~child() {
    if (pid_ > 0 && !exit_) {
        ::kill(pid_, SIGKILL);
        wait();
    }
}

void child::kill(int signal) {
    if (!exit_)
        ::kill(pid_, signal);
}

child_exit child::wait() {
    int status = 0;
    while (!exit_) {
        if (::waitpid(pid_, &status, 0) == pid_)
            exit_ = translate(status);
        else if (errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "waitpid");
    }
    return *exit_;
}

std::optional<child_exit> child::poll() {
    int status = 0;
    if (!exit_ && ::waitpid(pid_, &status, WNOHANG) == pid_)
        exit_ = translate(status);
    return exit_;
}

}  // namespace pmemstream::test
