#include "src/stream/free_space.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace {

using pmemstream::core::free_space;
using runs = std::map<std::uint64_t, std::uint64_t>;

TEST_CASE("all that is not taken is one run") {
    const free_space space(100, 200);
    CHECK(space.runs() == runs{{100, 100}});
    CHECK(space.free_bytes() == 100);
    CHECK(space.largest_bytes() == 100);
    CHECK(free_space(100, 100).runs().empty());
    CHECK(free_space(200, 100).runs().empty());
    CHECK(free_space(200, 100).largest_bytes() == 0);
}

TEST_CASE("taking from the beginning, the middle and the end leaves the rest") {
    free_space space(0, 100);
    CHECK(space.take(0, 10));
    CHECK(space.runs() == runs{{10, 90}});
    CHECK(space.take(90, 10));
    CHECK(space.runs() == runs{{10, 80}});
    CHECK(space.take(40, 20));
    CHECK(space.runs() == runs{{10, 30}, {60, 30}});
    CHECK(space.take(10, 30));
    CHECK(space.runs() == runs{{60, 30}});
    CHECK(space.free_bytes() == 30);
}

TEST_CASE("what is taken already, or outside, cannot be taken") {
    free_space space(100, 200);
    REQUIRE(space.take(120, 20));
    const auto before = space.runs();
    CHECK_FALSE(space.take(120, 20));
    CHECK_FALSE(space.take(110, 20));
    CHECK_FALSE(space.take(139, 10));
    CHECK_FALSE(space.take(0, 10));
    CHECK_FALSE(space.take(90, 20));
    CHECK_FALSE(space.take(190, 11));
    CHECK_FALSE(space.take(200, 1));
    CHECK_FALSE(space.take(150, ~std::uint64_t{0} - 10));
    CHECK(space.runs() == before);
}

TEST_CASE("the first run that is long enough is found") {
    free_space space(0, 100);
    REQUIRE(space.take(10, 10));
    REQUIRE(space.take(50, 10));
    CHECK(space.find(1) == 0u);
    CHECK(space.find(10) == 0u);
    CHECK(space.find(11) == 20u);
    CHECK(space.find(31) == 60u);
    CHECK(space.find(40) == 60u);
    CHECK_FALSE(space.find(41).has_value());
    CHECK(space.largest_bytes() == 40);
}

TEST_CASE("what is given back joins both neighbours") {
    free_space space(0, 100);
    for (const std::uint64_t at : {0, 20, 40, 60, 80})
        REQUIRE(space.take(at, 20));
    CHECK(space.runs().empty());
    space.give_back(40, 20);
    CHECK(space.runs() == runs{{40, 20}});
    space.give_back(60, 20);
    CHECK(space.runs() == runs{{40, 40}});
    space.give_back(0, 20);
    CHECK(space.runs() == runs{{0, 20}, {40, 40}});
    space.give_back(20, 20);
    CHECK(space.runs() == runs{{0, 80}});
    space.give_back(80, 20);
    CHECK(space.runs() == runs{{0, 100}});
}

TEST_CASE("after random takes and returns the runs are what a bitmap says") {
    constexpr std::uint64_t units = 200;
    std::mt19937 random(7);
    free_space space(0, units);
    std::vector<bool> taken(units, false);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> held;
    unsigned takes = 0, returns = 0;
    for (int round = 0; round < 2000; ++round) {
        if (!held.empty() && random() % 2 == 0) {
            const auto which = random() % held.size();
            const auto [at, count] = held[which];
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
            space.give_back(at, count);
            for (auto i = at; i < at + count; ++i)
                taken[i] = false;
            ++returns;
        } else {
            const std::uint64_t count = 1 + random() % 20;
            const auto at = space.find(count);
            if (!at)
                continue;
            REQUIRE(space.take(*at, count));
            for (auto i = *at; i < *at + count; ++i) {
                REQUIRE_FALSE(taken[i]);
                taken[i] = true;
            }
            held.emplace_back(*at, count);
            ++takes;
        }
        runs expected;
        for (std::uint64_t i = 0; i < units; ++i)
            if (!taken[i]) {
                auto last = expected.empty() ? expected.end() : std::prev(expected.end());
                if (last != expected.end() && last->first + last->second == i)
                    ++last->second;
                else
                    expected.emplace(i, 1);
            }
        REQUIRE(space.runs() == expected);
    }
    CHECK(takes > 500);
    CHECK(returns > 500);
}

}  // namespace
