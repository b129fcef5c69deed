#include "tools/bench/companion.hpp"

#include "tools/bench/measure.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <system_error>

namespace bench {

namespace {

/// Spins, gives way where both processes share a CPU, and at last leaves the CPU to others between two looks.
template <class Done>
void spin_until(Done done) {
    constexpr std::uint32_t patience = 4'000'000;
    for (std::uint32_t spins = 1; !done(); spins += spins < patience ? 1 : 0) {
        if (spins >= patience)
            ::usleep(50);
        else if (spins % 1024 == 0)
            ::sched_yield();
    }
}

/// What the handler of SIGCHLD looks at.
struct living {
    volatile pid_t pid = -1;
    meeting* volatile shared = nullptr;
};
std::array<living, 4> all_living;

void say(const char* text) {
    (void)!::write(STDERR_FILENO, text, std::strlen(text));
}

void look_for_ended(int) {
    const int kept = errno;
    for (const auto& one : all_living) {
        siginfo_t ended{};
        const pid_t pid = one.pid;
        // WNOWAIT leaves it to the destructor.
        if (pid <= 0 || ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
            ended.si_pid == 0)
            continue;
        say("\npmemstream-bench: the second process ended: ");
        say(one.shared->failure[0] != 0 ? one.shared->failure.data() : "it was killed");
        say("; files beside --file and --disk-file may be left behind\n");
        ::_exit(4);
    }
    errno = kept;
}

living& free_place() {
    for (auto& one : all_living)
        if (one.pid < 0)
            return one;
    throw std::logic_error("more second processes than planned for");
}

}  // namespace

companion::companion(int cpu, const std::function<step()>& body) {
    void* const memory = ::mmap(nullptr, sizeof(meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw std::system_error(errno, std::generic_category(), "memory for two processes");
    shared_ = new (memory) meeting;
    struct sigaction action {};
    action.sa_handler = look_for_ended;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    ::sigaction(SIGCHLD, &action, nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) {
        const int code = errno;
        ::munmap(shared_, sizeof(meeting));
        throw std::system_error(code, std::generic_category(), "a second process");
    }
    if (pid_ == 0)
        live(cpu, parent, body);
    auto& place = free_place();
    place.shared = shared_;
    place.pid = pid_;
    look_for_ended(SIGCHLD);  // it may have ended before the handler knew it
}

companion::~companion() {
    if (pid_ > 0) {
        forget();
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    ::munmap(shared_, sizeof(meeting));
}

void companion::forget() noexcept {
    for (auto& one : all_living)
        if (one.pid == pid_)
            one.pid = -1;
}

void companion::dismiss() noexcept {
    forget();
    shared_->leave = 1;
    ask();
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

void companion::live(int cpu, pid_t parent, const std::function<step()>& body) const {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent)
        ::_exit(1);
    try {
        pin(cpu);
        step one = body();
        for (std::uint32_t steps = 1;; ++steps) {
            spin_until([&] { return __atomic_load_n(&shared_->asked, __ATOMIC_ACQUIRE) >= steps; });
            if (shared_->leave != 0) {
                one = nullptr;
                std::exit(0);
            }
            one(*shared_);
            __atomic_store_n(&shared_->done, steps, __ATOMIC_RELEASE);
        }
    } catch (const std::exception& e) {
        std::strncpy(shared_->failure.data(), e.what(), shared_->failure.size() - 1);
    }
    ::_exit(1);
}

void companion::ask() noexcept {
    __atomic_store_n(&shared_->asked, shared_->asked + 1, __ATOMIC_RELEASE);
}

void companion::await() const noexcept {
    spin_until([&] { return __atomic_load_n(&shared_->done, __ATOMIC_ACQUIRE) == shared_->asked; });
}

void companion::await_asleep() const noexcept {
    while (__atomic_load_n(&shared_->done, __ATOMIC_ACQUIRE) != shared_->asked)
        ::usleep(200);
}

}  // namespace bench
