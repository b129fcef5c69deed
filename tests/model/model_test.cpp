#include "tests/model/modelled_stream.hpp"
#include "tests/support/test_numbers.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <rapidcheck.h>

#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

// Random sequences of everything that a writer may do, against plain vectors. RapidCheck shrinks a sequence that fails
// and prints how to run it again (RC_PARAMS); PMEMSTREAM_SEED gives the seed of a whole run.

namespace pmemstream::test {

void showValue(const step& what, std::ostream& to) {
    to << to_string(what.kind) << '(' << what.which << ", " << what.size << ", " << what.more << ')';
}

}  // namespace pmemstream::test

namespace {

using namespace pmemstream::test;

rc::Gen<step> any_step(const std::vector<std::pair<std::size_t, step_kind>>& weights) {
    std::vector<step_kind> kinds;
    for (const auto& [weight, kind] : weights)
        kinds.insert(kinds.end(), weight, kind);
    return rc::gen::construct<step>(rc::gen::elementOf(kinds), rc::gen::inRange(0u, 1000u),
                                    rc::gen::inRange(0u, 10'000u), rc::gen::inRange(0u, 1000u));
}

/// Everything, appends most of all.
const std::vector<std::pair<std::size_t, step_kind>> usual = {
    {40, step_kind::append}, {8, step_kind::batch},        {8, step_kind::reserve},       {8, step_kind::publish},
    {3, step_kind::abandon}, {8, step_kind::allocate},     {2, step_kind::free},          {2, step_kind::clear},
    {2, step_kind::reopen},  {2, step_kind::process_dies}, {2, step_kind::power_is_lost}, {2, step_kind::tail_is_torn},
    {6, step_kind::follow},  {3, step_kind::compare}};

/// Regions come and go, the table grows and the file is full.
const std::vector<std::pair<std::size_t, step_kind>> regions_mostly = {
    {20, step_kind::append},       {40, step_kind::allocate}, {6, step_kind::free},
    {4, step_kind::clear},         {1, step_kind::reopen},    {1, step_kind::process_dies},
    {1, step_kind::power_is_lost}, {4, step_kind::follow},    {2, step_kind::compare}};

struct run {
    const char* name;
    const std::vector<std::pair<std::size_t, step_kind>>& weights;
    std::uint64_t stream_bytes;
    std::uint64_t block_bytes;
};

/// Sets RapidCheck up, once: RC_PARAMS wins, else our seed and number of runs.
void configure() {
    const std::uint64_t seed = seed_from_environment();
    const std::string parameters = fmt::format("seed={} max_success={} max_size=400", seed, scaled(200));
    ::setenv("RC_PARAMS", parameters.c_str(), 0);
    fmt::print("RC_PARAMS=\"{}\"\n", std::getenv("RC_PARAMS"));
    std::fflush(stdout);
}

step_counts check_against_model(const run& how) {
    static const bool configured = (configure(), true);
    (void)configured;
    step_counts counts;
    const bool held = rc::check(how.name, [&] {
        modelled_stream stream(how.stream_bytes, how.block_bytes, counts);
        stream.take({step_kind::allocate, 0, 100, 1});
        for (const auto& what : *rc::gen::container<std::vector<step>>(any_step(how.weights)))
            stream.take(what);
        stream.end();
    });
    fmt::print(
        "{}: {} steps, {} entries, {} fillers, {} regions allocated (at most {} at once), {} freed, {} cleared, {} "
        "openings, of them {} "
        "rescans, {} entries cut, {} times region_full, {} times exhausted, {} other refusals, {} comparisons, {} "
        "times followed\n",
        how.name, counts.steps, counts.entries, counts.fillers, counts.allocated, counts.regions_most, counts.freed,
        counts.cleared, counts.openings, counts.rescans, counts.cut_entries, counts.full, counts.exhausted,
        counts.refused, counts.compared, counts.followed);
    CHECK(held);
    CHECK(counts.steps > scaled(1000));
    CHECK(counts.entries > scaled(500));
    CHECK(counts.rescans > 0);
    return counts;
}

TEST_CASE("any sequence of steps with blocks of 64 bytes leaves what the model holds") {
    const auto counts = check_against_model({"blocks of 64 bytes", usual, 128 << 10, 64});
    CHECK(counts.fillers > 0);
    CHECK(counts.full > 0);
    CHECK(counts.cut_entries > 0);
}

TEST_CASE("any sequence of steps with blocks of 4096 bytes leaves what the model holds") {
    const auto counts = check_against_model({"blocks of 4096 bytes", usual, 256 << 10, 4096});
    CHECK(counts.fillers > 0);
    CHECK(counts.cut_entries > 0);
}

TEST_CASE("regions come and go in a file that is too small for them") {
    const auto counts = check_against_model({"many regions", regions_mostly, 192 << 10, 64});
    CHECK(counts.exhausted > 0);
    CHECK(counts.regions_most > 18);  // more than the first segment of the table holds
}

}  // namespace
