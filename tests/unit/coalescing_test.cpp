#include "src/log/coalescing.hpp"

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;
using pmemstream::log::coalescing;

namespace {

/// So many waits whose first look found an entry, and others behind it.
void find(coalescing& pace, unsigned looks, bool more = true) {
    for (unsigned i = 0; i < looks; ++i)
        pace.looked(true, more);
}

TEST_CASE("pauses begin after several looks that found something, and double up to the longest") {
    coalescing pace(1600ns);
    find(pace, coalescing::looks_before - 1);
    CHECK(pace.next() == 0ns);
    for (const auto expected : {200ns, 400ns, 800ns, 1600ns, 1600ns}) {
        find(pace, 1);
        CHECK(pace.next() == expected);
    }
}

TEST_CASE("a look that finds nothing ends them") {
    coalescing pace(1600ns);
    find(pace, 20);
    CHECK(pace.next() == 1600ns);
    pace.looked(false, false);
    CHECK(pace.next() == 0ns);
    find(pace, coalescing::looks_before - 1);
    CHECK(pace.next() == 0ns);
}

TEST_CASE("one entry at a time ends them, but only where the longest pause brings no more: somebody answers") {
    coalescing pace(1600ns);
    find(pace, coalescing::looks_before + 3, false);
    CHECK(pace.next() == 1600ns);
    find(pace, 1, false);
    CHECK(pace.next() == 0ns);
}

TEST_CASE("without a longest pause there is none; one beyond a millisecond is cut") {
    coalescing never(0ns);
    find(never, 100);
    CHECK(never.next() == 0ns);
    coalescing negative(-5ns);
    find(negative, 100);
    CHECK(negative.next() == 0ns);
    coalescing long_ones(1h);
    find(long_ones, 100);
    CHECK(long_ones.next() == coalescing::longest_max);
}

TEST_CASE("a pause lasts as long as it says") {
    coalescing pace(1h);
    find(pace, 100);
    const auto begin = std::chrono::steady_clock::now();
    pace.pause(1h);
    CHECK(std::chrono::steady_clock::now() - begin >= coalescing::longest_max);
}

}  // namespace
