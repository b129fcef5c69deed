#include "tools/bench/peers/server.hpp"

#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <fstream>
#include <iterator>

namespace bench {

server::server(const std::vector<std::string>& command, std::filesystem::path log)
    : name_(command.front()), log_(std::move(log)) {
    std::vector<char*> words;
    for (const auto& word : command)
        words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0)
        throw std::runtime_error("fork failed");
    if (pid_ > 0)
        return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    unpin();
    const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int nothing = ::open("/dev/null", O_RDONLY);
    // A process group of its own: an interrupt from the terminal ends this process first, which then ends that one.
    if (::getppid() == parent && out >= 0 && nothing >= 0 && ::setpgid(0, 0) == 0 && ::dup2(nothing, 0) == 0 &&
        ::dup2(out, 1) == 1 && ::dup2(out, 2) == 2)
        ::execvp(words[0], words.data());
    ::_exit(127);
}

server::~server() {
    if (pid_ <= 0)
        return;
    ::kill(pid_, SIGTERM);
    for (int i = 0; i < 300; ++i) {
        if (::waitpid(pid_, nullptr, WNOHANG) != 0)
            return;
        ::usleep(10'000);
    }
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

void server::wait_a_little() {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            throw not_here("the program " + name_ + " is not installed");
        throw not_here(name_ + " ended at once: " + printed());
    }
    ::usleep(10'000);
    waited_ms_ += 10;
    if (waited_ms_ > 10'000)
        throw not_here(name_ + " was not ready after ten seconds: " + printed());
}

std::string server::printed() const {
    std::ifstream in(log_);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace bench
