#pragma once

#include <exception>

// SIGINT, SIGTERM and SIGHUP end a run between two turns, so that its files are removed; a second signal ends it at once.
namespace bench::interruption {

void catch_signals();

/// The signal.
struct interrupted : std::exception {
    explicit interrupted(int signal) : signal(signal) {}
    [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
    int signal;
};
/// Throws it if one came.
void check();

}  // namespace bench::interruption
