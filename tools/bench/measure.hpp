#pragma once

#include "tools/bench/settings.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

// How a number is made: the thing and its limits take turns in one run, so that all of them meet the same machine (the
// virtual CPUs of a small VM change places within seconds), and ratios are taken pair by pair.
namespace bench {

using clock = std::chrono::steady_clock;

[[nodiscard]] inline double ns_since(clock::time_point begin) noexcept {
    return std::chrono::duration<double, std::nano>(clock::now() - begin).count();
}
[[nodiscard]] inline std::uint64_t now_ns() noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now().time_since_epoch()).count());
}
/// CPU time of the calling thread.
[[nodiscard]] std::uint64_t thread_cpu_ns();

/// One turn of a thing or of a limit; gives its cost in the row's unit.
using turn = std::function<double()>;

/// After one round that does not count, `repetitions` rounds of all turns, begun by each in its turn. The result holds a
/// vector of costs for each.
[[nodiscard]] std::vector<std::vector<double>> in_turns(unsigned repetitions, std::span<const turn> turns);
[[nodiscard]] inline std::vector<std::vector<double>> in_turns(unsigned repetitions,
                                                               std::initializer_list<turn> turns) {
    return in_turns(repetitions, std::span(turns.begin(), turns.size()));
}

/// Calls send(intended moment) `count` times, never before that moment.
template <class Send>
void at_rate(std::uint64_t count, double gap_ns, Send send) {
    const std::uint64_t begin = now_ns() + 20'000;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto intended = begin + static_cast<std::uint64_t>(static_cast<double>(i) * gap_ns);
        while (now_ns() < intended) {
        }
        send(intended);
    }
}

void pin(int cpu);
/// Any CPU again: for what runs many threads.
void unpin();

/// Keeps the compiler from dropping the computation of a value.
inline void keep(std::uint64_t value) noexcept {
    __asm__ volatile("" : : "r"(value) : "memory");
}

}  // namespace bench
