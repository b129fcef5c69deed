#pragma once

#include <poll.h>
#include <chrono>
#include <optional>
#include <span>
#include <string_view>

// Ending by a signal without a race: once they are caught, SIGINT, SIGTERM and SIGHUP are blocked, and let in only
// while the tool waits in signals::poll(). So none can slip in between a look at the flag and the wait.
namespace pmemstream::tools {

/// Thrown where a signal leaves nothing else to do.
struct interrupted {
    int signal;
};

namespace signals {

/// From now on signals end the tool only where it looks. (SIGHUP stays ignored if it was: nohup.)
void catch_them();
[[nodiscard]] bool are_caught() noexcept;

/// The last signal seen, or 0.
[[nodiscard]] int seen() noexcept;
/// Forgets it, to see another one.
void forget() noexcept;

using limit = std::optional<std::chrono::nanoseconds>;  // none: for ever

/// ppoll(2) that lets the signals in: seen() tells afterwards. It ends early for one.
void poll(std::span<pollfd> fds, limit timeout);
/// Lets through what is pending, without waiting. Returns seen().
int look();
/// False when a signal cut it short.
[[nodiscard]] bool sleep_until(std::chrono::steady_clock::time_point when);

[[nodiscard]] std::string_view name_of(int signal) noexcept;

}  // namespace signals
}  // namespace pmemstream::tools
