// pmemstream-bench's percentiles and goals, against what they are by definition.
#include "tools/bench/histogram.hpp"
#include "tools/bench/row.hpp"

#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

using bench::histogram;

namespace {

/// The least value at or below which lie `fraction` of all.
std::uint64_t exact_percentile(const std::vector<std::uint64_t>& sorted, double fraction) {
    const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(sorted.size())));
    return sorted[std::max<std::size_t>(rank, 1) - 1];
}

void check_against_exact(std::vector<std::uint64_t> values) {
    const auto counted = std::make_unique<histogram>();
    for (const auto value : values)
        counted->record(value);
    std::sort(values.begin(), values.end());
    CHECK(counted->count() == values.size());
    CHECK(counted->max() == values.back());
    for (const double fraction : {0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        CAPTURE(fraction);
        const auto exact = exact_percentile(values, fraction);
        const auto got = counted->percentile(fraction);
        CHECK(got >= exact);
        CHECK(got - exact <= exact >> histogram::precision_bits);
    }
}

}  // namespace

TEST_CASE("percentiles are exact below 256, and at most 1/128 too large above") {
    std::mt19937_64 random(7);
    std::vector<std::uint64_t> small, even, wide, tail;
    for (int i = 0; i < 20'000; ++i) {
        small.push_back(random() % 256);
        even.push_back(random() % 1'000'000);
        wide.push_back(random() >> (random() % 64));
        tail.push_back(i % 1000 == 0 ? 5'000'000 + random() % 1'000'000 : 100 + random() % 40);
    }
    check_against_exact(small);
    check_against_exact(even);
    check_against_exact(wide);
    check_against_exact(tail);
    for (const std::uint64_t one : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{255}, std::uint64_t{256},
                                    std::uint64_t{257}, std::numeric_limits<std::uint64_t>::max()})
        check_against_exact({one});
}

TEST_CASE("around every power of two, a value lands in a bucket that holds it and begins above the value before") {
    for (unsigned bit = 1; bit < 64; ++bit)
        for (const std::uint64_t value :
             {(std::uint64_t{1} << bit) - 1, std::uint64_t{1} << bit, (std::uint64_t{1} << bit) + 1}) {
            CAPTURE(value);
            const auto counted = std::make_unique<histogram>();
            counted->record(value);
            std::uint64_t greatest = 0;
            counted->each_bucket([&](std::uint64_t end, std::uint64_t count) {
                greatest = end;
                CHECK(count == 1);
            });
            CHECK(greatest >= value);
            CHECK(greatest - value <= value >> histogram::precision_bits);
        }
}

TEST_CASE("merging counts both, and an empty histogram has percentiles of 0") {
    const auto a = std::make_unique<histogram>(), b = std::make_unique<histogram>();
    CHECK(a->percentile(0.5) == 0);
    a->record(10, 3);
    b->record(1000);
    a->merge(*b);
    CHECK(a->count() == 4);
    CHECK(a->max() == 1000);
    CHECK(a->percentile(0.75) == 10);
    CHECK(a->percentile(1) == 1000);
    a->clear();
    CHECK(a->count() == 0);
    CHECK(a->max() == 0);
}

TEST_CASE("a row's ratio is the median of the pairs' ratios, not the ratio of the medians") {
    const auto made = bench::summarized({}, {10, 40, 30}, {10, 10, 30});
    CHECK(made.ratio == doctest::Approx(1));
    CHECK(made.median == doctest::Approx(30));
    CHECK(made.min == doctest::Approx(10));
    CHECK(made.max == doctest::Approx(40));
    CHECK(made.limit_median == doctest::Approx(10));
    CHECK(bench::summarized({}, {1, 2}, {1, 1}).ratio == doctest::Approx(1.5));
    CHECK_THROWS((void)bench::summarized({}, {1}, {0}));
    CHECK_THROWS((void)bench::summarized({}, {1, 2}, {1}));
}

TEST_CASE("a ratio that misses its goal is shown with the digits that say so") {
    const auto shown = [](double ratio, std::optional<double> goal) {
        bench::row row;
        row.ratio = ratio;
        row.goal = goal;
        return bench::shown_ratio(row);
    };
    CHECK(shown(1.0504, 1.05) == "1.0504");
    CHECK(shown(0.0507, 0.05) == "0.051");
    CHECK(shown(1.74, 1.15) == "1.74");
    CHECK(shown(1.0496, 1.05) == "1.05");
    CHECK(shown(1.05, 1.05) == "1.05");
    CHECK(shown(2.3249, std::nullopt) == "2.32");
    CHECK(shown(std::nextafter(1.05, 2), 1.05) == "1.050000000");
    CHECK(shown(std::numeric_limits<double>::quiet_NaN(), 1.05).find("nan") != std::string::npos);
}

TEST_CASE("a goal is missed above it, by more than the tolerance, and by what is no number") {
    bench::row row;
    row.ratio = 3;
    CHECK_FALSE(row.missed());
    row.goal = 3;
    CHECK_FALSE(row.missed());
    row.ratio = 3.01;
    CHECK(row.missed());
    CHECK_FALSE(row.missed(1.1));
    CHECK(row.missed(0.5));
    row.ratio = std::numeric_limits<double>::quiet_NaN();
    CHECK(row.missed());
}
