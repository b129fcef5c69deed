#include "tools/bench/measure.hpp"

#include "tools/bench/interruption.hpp"
#include "tools/bench/progress_bar.hpp"

#include <sched.h>
#include <cerrno>
#include <ctime>
#include <system_error>

namespace bench {

std::uint64_t thread_cpu_ns() {
    timespec now{};
    if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0)
        throw std::system_error(errno, std::generic_category(), "reading the thread's CPU time");
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::vector<std::vector<double>> in_turns(unsigned repetitions, std::span<const turn> turns) {
    for (const auto& each : turns)
        (void)each();
    std::vector<std::vector<double>> costs(turns.size());
    for (unsigned round = 0; round < repetitions; ++round) {
        progress_bar::round(round, repetitions);
        for (std::size_t i = 0; i < turns.size(); ++i) {
            const std::size_t which = (round + i) % turns.size();
            costs[which].push_back(turns[which]());
            interruption::check();
        }
    }
    return costs;
}

void pin(int cpu) {
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0)
        throw std::system_error(errno, std::generic_category(), "pinning to CPU " + std::to_string(cpu));
}

void unpin() {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        CPU_SET(cpu, &set);
    (void)::sched_setaffinity(0, sizeof set, &set);
}

}  // namespace bench
