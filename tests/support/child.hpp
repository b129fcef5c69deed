#pragma once

#include <sys/types.h>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace pmemstream::test {

/// How a process ended.
struct child_exit {
    bool signalled = false;
    int code = 0;  ///< exit code or signal
};

/// One end of a pipe of fixed-size records (each at most PIPE_BUF bytes, so whole or not at all).
class record_pipe {
public:
    record_pipe();
    ~record_pipe();
    record_pipe(const record_pipe&) = delete;
    record_pipe& operator=(const record_pipe&) = delete;

    void write(std::uint64_t value) const;
    /// Blocks; nothing at the end of file.
    [[nodiscard]] std::optional<std::uint64_t> read() const;
    /// After fork, each process keeps one end.
    void keep_read_end();
    void keep_write_end();

private:
    int read_ = -1;
    int write_ = -1;
};

/// A real process of this test: forked before any thread was made, running `body` and leaving by _exit with what it
/// returns (99 for an exception). Killed and reaped at the latest when this object goes.
class child {
public:
    explicit child(const std::function<int()>& body);
    child(child&& other) noexcept;
    child& operator=(child&&) = delete;
    ~child();

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    void kill(int signal);
    /// Waits for the end.
    child_exit wait();
    /// The end, if it has come.
    [[nodiscard]] std::optional<child_exit> poll();

private:
    pid_t pid_ = -1;
    std::optional<child_exit> exit_;
};

}  // namespace pmemstream::test
