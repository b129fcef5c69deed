#include "tools/bench/row.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace bench {

double median(std::vector<double> values) {
    if (values.empty())
        throw std::logic_error("the median of nothing");
    std::sort(values.begin(), values.end());
    const auto half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::string shown_ratio(const row& of) {
    constexpr int digits_max = 9;
    std::array<char, 64> text{};
    for (int digits = 2; digits <= digits_max; ++digits) {
        std::snprintf(text.data(), text.size(), "%.*f", digits, of.ratio);
        if (!of.missed() || !(std::strtod(text.data(), nullptr) <= *of.goal))
            break;
    }
    return text.data();
}

row summarized(row into, const std::vector<double>& thing, const std::vector<double>& limit) {
    if (thing.size() != limit.size())
        throw std::logic_error("pairs that are none");
    std::vector<double> ratios;
    for (std::size_t i = 0; i < thing.size(); ++i) {
        // A row whose limit costs nothing has no ratio, and must not pass for one that is fine.
        if (!(limit[i] > 0))
            throw std::runtime_error(into.workload + ", " + into.variant + ": the limit took no time at all");
        ratios.push_back(thing[i] / limit[i]);
    }
    into.median = median(thing);
    into.min = *std::min_element(thing.begin(), thing.end());
    into.max = *std::max_element(thing.begin(), thing.end());
    into.limit_median = median(limit);
    into.ratio = median(std::move(ratios));
    return into;
}

}  // namespace bench
