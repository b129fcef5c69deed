#include "tools/common/exit_code.hpp"
#include "tools/common/run.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/text.hpp"
#include "tools/write/sources.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

extern "C" char** environ;

namespace pmemstream::tools {

namespace {

constexpr std::chrono::seconds grace{2};

/// A command whose standard output is a pipe to here. Ended at the latest when this object goes.
class command_process {
public:
    explicit command_process(const std::vector<std::string>& words);
    command_process(const command_process&) = delete;
    command_process& operator=(const command_process&) = delete;
    ~command_process() {
        output_.reset();
        if (running_)
            end(SIGTERM);
    }

    [[nodiscard]] input& printed() noexcept { return *output_; }
    void send(int signal) const noexcept {
        if (running_)
            ::kill(pid_, signal);
    }
    /// As a shell says it: the exit status, or 128 + signal.
    int wait() {
        int status = 0;
        while (running_ && ::waitpid(pid_, &status, 0) != pid_)
            if (errno != EINTR)
                fail_with_errno(errno, "waiting for the command");
        running_ = false;
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    /// Sends the signal, and SIGKILL to one that does not mind it.
    void end(int signal) noexcept {
        send(signal);
        const auto patience = std::chrono::steady_clock::now() + grace;
        while (running_ && std::chrono::steady_clock::now() < patience) {
            if (::waitpid(pid_, nullptr, WNOHANG) != 0)
                running_ = false;
            else
                (void)::usleep(5000);
        }
        send(SIGKILL);
        if (running_)
            (void)::waitpid(pid_, nullptr, 0);
        running_ = false;
    }

private:
    std::optional<input> output_;
    pid_t pid_ = -1;
    bool running_ = false;
};

command_process::command_process(const std::vector<std::string>& words) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        fail_with_errno(errno, "a pipe for the command");
    output_.emplace(ends[0], printable(words.front()), true);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    sigset_t as_usual;
    sigemptyset(&as_usual);
    sigaddset(&as_usual, SIGPIPE);
    // The command gets these when the tool does; ignored, as in a script's background job, they would not end it.
    sigaddset(&as_usual, SIGINT);
    sigaddset(&as_usual, SIGTERM);
    ::posix_spawnattr_setsigdefault(&attributes, &as_usual);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    std::vector<char*> arguments;
    for (const auto& word : words)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    // Neither the stream's descriptor nor its mapping gets into the command: both end with exec.
    const int error = ::posix_spawnp(&pid_, arguments[0], &actions, &attributes, arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0)
        fail(static_cast<exit_code>(error == ENOENT ? 127 : 126), "{}: {}", printable(words.front()),
             std::generic_category().message(error));
    running_ = true;
}

}  // namespace

int append_command(appender& to, const write_options& options) {
    command_process command(options.command);
    line_source lines(command.printed());
    stop why = append_lines(to, options, lines, command.printed());
    if (why == stop::signal) {
        // The command is asked to end too, and what it still prints is appended.
        const int signal = signals::seen();
        signals::forget();
        command.send(signal);
        command.printed().set_deadline(std::chrono::steady_clock::now() + grace);
        why = append_lines(to, options, lines, command.printed());
        command.end(why == stop::end ? signal : SIGKILL);
        throw interrupted{signal};
    }
    const int status = command.wait();
    if (status != 0)
        note("{}: ended with status {}; {} appended", command.printed().name(), status, to.appended());
    return status;
}

}  // namespace pmemstream::tools
