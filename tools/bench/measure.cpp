#include "tools/bench/measure.hpp"

#include <sched.h>
#include <algorithm>
#include <cerrno>
#include <system_error>

namespace bench {

double percentile(std::vector<double> values, double fraction) {
    const auto index = static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1) + 0.5);
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(index);
    std::nth_element(values.begin(), place, values.end());
    return *place;
}

double median(std::vector<double> values) {
    return percentile(std::move(values), 0.5);
}

void summarize(row& into, const std::vector<double>& thing, const std::vector<double>& limit) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < thing.size(); ++i)
        ratios.push_back(thing[i] / limit[i]);
    into.median = median(thing);
    into.min = *std::min_element(thing.begin(), thing.end());
    into.max = *std::max_element(thing.begin(), thing.end());
    into.limit_median = median(limit);
    into.ratio = median(std::move(ratios));
}

void measure_pairs(row& into, unsigned repetitions, const std::function<double()>& thing,
                   const std::function<double()>& limit) {
    (void)thing();
    (void)limit();
    std::vector<double> things, limits;
    for (unsigned i = 0; i < repetitions; ++i) {
        if (i % 2 == 0) {
            things.push_back(thing());
            limits.push_back(limit());
        } else {
            limits.push_back(limit());
            things.push_back(thing());
        }
    }
    summarize(into, things, limits);
}

void pin(int cpu) {
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0)
        throw std::system_error(errno, std::generic_category(), "pinning to a CPU");
}

void unpin() {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        CPU_SET(cpu, &set);
    (void)::sched_setaffinity(0, sizeof set, &set);
}

}  // namespace bench
