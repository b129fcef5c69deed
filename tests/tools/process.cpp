#include "tests/tools/process.hpp"

#include "tests/support/eventually.hpp"
#include "tests/support/temp_dir.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace pmemstream::test {

namespace {

[[noreturn]] void broken(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// Signals as a program finds them that a user starts at a terminal. This process may have been started otherwise (a job
/// in the background of a script ignores SIGINT, nohup SIGHUP), and what is ignored or blocked stays so after exec.
void meet_signals_as_usual() {
    for (int signal = 1; signal < NSIG; ++signal)
        (void)::signal(signal, SIG_DFL);  // refused for a few, which cannot be ignored anyway
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// In the child: becomes the program. Returns only when it cannot.
int become(const words& command, const surroundings& in, int fd_in, int fd_out, int fd_err) {
    meet_signals_as_usual();
    ::setpgid(0, 0);  // end_group() finds what it starts
    if (::dup2(fd_in, 0) < 0 || ::dup2(fd_out, 1) < 0 || ::dup2(fd_err, 2) < 0)
        return 98;
    for (const auto& variable : in.environment)
        ::putenv(const_cast<char*>(variable.c_str()));
    if (in.as_user && (::setgroups(0, nullptr) != 0 || ::setgid(*in.as_user) != 0 || ::setuid(*in.as_user) != 0))
        return 97;
    std::vector<char*> arguments;
    for (const auto& word : command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    return 96;
}

/// Ends what a program has left behind: the other half of a shell's pipeline outlives the shell.
void end_group(const child& process) {
    ::kill(-process.pid(), SIGKILL);
}

int temporary_file(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        broken("a temporary file");
    return fd;
}

ended run_with(const words& command, const surroundings& in) {
    const temp_dir dir;
    const int fd_in = temporary_file(dir / "in");
    const int fd_out = temporary_file(dir / "out");
    const int fd_err = temporary_file(dir / "err");
    write_text(dir / "in", in.input);
    child process([&] { return become(command, in, fd_in, fd_out, fd_err); });
    const auto exit = process.wait();
    end_group(process);
    for (const int fd : {fd_in, fd_out, fd_err})
        ::close(fd);
    return {exit.signalled, exit.code, read_text(dir / "out"), read_text(dir / "err")};
}

}  // namespace

ended run(const words& command, const surroundings& in) {
    return run_with(command, in);
}

ended shell(const std::string& script, const surroundings& in) {
    auto with_tools = in;
    with_tools.environment.push_back("WRITE=" + write_tool);
    with_tools.environment.push_back("INSPECT=" + inspect_tool);
    return run_with({"bash", "-c", script}, with_tools);
}

running::running(const words& command, const surroundings& in) {
    static unsigned number = 0;
    int to[2];
    int from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0)
        broken("pipe");
    err_ = std::filesystem::temp_directory_path() / fmt::format("pmemstream-tool-{}-{}.err", ::getpid(), number++);
    const int fd_err = temporary_file(err_);
    child_.emplace([&] { return become(command, in, to[0], from[1], fd_err); });
    ::close(to[0]);
    ::close(from[1]);
    ::close(fd_err);
    in_ = to[1];
    out_ = from[0];
    if (!in.input.empty())
        send(in.input);
}

running::~running() {
    end_input();
    leave_output();
    end_group(*child_);
    child_.reset();
    std::error_code ignored;
    std::filesystem::remove(err_, ignored);
}

void running::send(std::string_view text) const {
    while (!text.empty()) {
        const ssize_t sent = ::write(in_, text.data(), text.size());
        if (sent < 0 && errno != EINTR)
            broken("writing to a tool");
        if (sent > 0)
            text.remove_prefix(static_cast<std::size_t>(sent));
    }
}

void running::end_input() {
    if (in_ >= 0)
        ::close(std::exchange(in_, -1));
}

void running::leave_output() {
    if (out_ >= 0)
        ::close(std::exchange(out_, -1));
}

std::optional<std::string> running::line() {
    for (;;) {
        if (const std::size_t end = pending_.find('\n'); end != std::string::npos) {
            std::string text = pending_.substr(0, end);
            pending_.erase(0, end + 1);
            return text;
        }
        char buffer[4096];
        const ssize_t got = ::read(out_, buffer, sizeof buffer);
        if (got < 0 && errno != EINTR)
            broken("reading from a tool");
        if (got == 0)
            return std::nullopt;
        if (got > 0)
            pending_.append(buffer, static_cast<std::size_t>(got));
    }
}

void running::stop() {
    kill(SIGSTOP);
    int status = 0;
    if (::waitpid(pid(), &status, WUNTRACED) != pid() || !WIFSTOPPED(status))
        throw std::runtime_error("a tool ended instead of being stopped");
}

void running::await_handler(int signal) const {
    // Before exec the child is a copy of this test, handlers included.
    const auto handles = [&] {
        std::error_code ignored;
        const auto program = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid()), ignored);
        if (program.empty() || program == std::filesystem::read_symlink("/proc/self/exe"))
            return false;
        const std::string status = read_text(fmt::format("/proc/{}/status", pid()));
        const std::size_t at = status.find("SigCgt:");
        return at != std::string::npos && (std::stoull(status.substr(at + 7), nullptr, 16) >> (signal - 1) & 1) != 0;
    };
    if (!eventually(handles))
        throw std::runtime_error("a tool never handled a signal");
}

std::string running::err() const {
    return read_text(err_);
}

ended running::wait() {
    end_input();
    std::string out;
    if (out_ >= 0) {
        while (auto text = line())
            out += *text + "\n";
        out += pending_;
    }
    const auto exit = child_->wait();
    return {exit.signalled, exit.code, out, read_text(err_)};
}

std::vector<std::string> entries_of(const std::filesystem::path& file, std::optional<std::string> region) {
    const auto reader = reader::open(file);
    if (!reader)
        throw std::runtime_error(reader.error().message());
    cursor_options how;
    how.check_crc = true;
    how.registered = false;
    std::vector<std::string> all;
    const auto gather = [&all](auto&& cursor) {
        if (!cursor)
            throw std::runtime_error(cursor.error().message());
        for (const entry& e : *cursor)
            all.emplace_back(reinterpret_cast<const char*>(e.payload().data()), e.payload().size());
        if (!cursor->status())
            throw std::runtime_error(cursor->status().error().message());
    };
    if (region) {
        const auto found = reader->find(*region);
        if (!found)
            throw std::runtime_error(found.error().message());
        gather(reader->follow(*found, how));
    } else {
        gather(reader->follow_all(how));
    }
    return all;
}

std::string read_text(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

void write_text(const std::filesystem::path& file, std::string_view text) {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    if (!out.flush())
        throw std::runtime_error("cannot write " + file.string());
}

std::string numbered_lines(std::uint64_t count) {
    std::string text;
    for (std::uint64_t i = 1; i <= count; ++i)
        text += fmt::format("{}\n", i);
    return text;
}

std::vector<std::string> split_lines(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

}  // namespace pmemstream::test
