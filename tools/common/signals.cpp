#include "tools/common/signals.hpp"

#include "tools/common/exit_code.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>

namespace pmemstream::tools::signals {

namespace {

volatile std::sig_atomic_t last = 0;
bool caught = false;
sigset_t outside;  // the mask while waiting

void remember(int signal) {
    last = signal;
}

}  // namespace

void catch_them() {
    if (caught)
        return;
    caught = true;
    sigset_t ours;
    sigemptyset(&ours);
    struct sigaction action {};
    action.sa_handler = remember;
    sigemptyset(&action.sa_mask);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction before {};
        ::sigaction(signal, nullptr, &before);
        if (signal == SIGHUP && before.sa_handler == SIG_IGN)
            continue;
        sigaddset(&ours, signal);
        ::sigaction(signal, &action, nullptr);
    }
    ::sigprocmask(SIG_BLOCK, &ours, &outside);
    // Whoever started us may have blocked them; that is not what anybody who sends one expects.
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigdelset(&outside, signal);
}

bool are_caught() noexcept {
    return caught;
}

int seen() noexcept {
    return last;
}

void forget() noexcept {
    last = 0;
}

void poll(std::span<pollfd> fds, limit timeout) {
    timespec at_most{};
    if (timeout) {
        const auto nanoseconds = std::max<std::chrono::nanoseconds::rep>(0, timeout->count());
        at_most.tv_sec = nanoseconds / 1'000'000'000;
        at_most.tv_nsec = nanoseconds % 1'000'000'000;
    }
    for (auto& fd : fds)
        fd.revents = 0;
    const int got = ::ppoll(fds.data(), fds.size(), timeout ? &at_most : nullptr, caught ? &outside : nullptr);
    if (got > 0 && caught) {
        // Descriptors that are ready come before signals, and some are always ready: let a pending one in.
        const timespec none{};
        (void)::ppoll(nullptr, 0, &none, &outside);
    }
    if (got >= 0)
        return;
    for (auto& fd : fds)
        fd.revents = 0;
    if (errno != EINTR)
        fail_with_errno(errno, "waiting for input or output");
}

int look() {
    poll({}, std::chrono::nanoseconds(0));
    return last;
}

bool sleep_until(std::chrono::steady_clock::time_point when) {
    while (last == 0) {
        const auto left = when - std::chrono::steady_clock::now();
        if (left <= std::chrono::nanoseconds::zero())
            return true;
        poll({}, left);
    }
    return false;
}

std::string_view name_of(int signal) noexcept {
    switch (signal) {
        case SIGINT:
            return "SIGINT";
        case SIGTERM:
            return "SIGTERM";
        case SIGHUP:
            return "SIGHUP";
        default:
            return "a signal";
    }
}

}  // namespace pmemstream::tools::signals
