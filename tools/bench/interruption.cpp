#include "tools/bench/interruption.hpp"

#include <csignal>
#include <initializer_list>

namespace bench::interruption {

namespace {

volatile std::sig_atomic_t seen = 0;

void see(int signal) {
    seen = signal;
}

}  // namespace

void catch_signals() {
    struct sigaction action {};
    action.sa_handler = see;
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        ::sigaction(signal, &action, nullptr);
}

void check() {
    if (seen != 0)
        throw interrupted(seen);
}

}  // namespace bench::interruption
