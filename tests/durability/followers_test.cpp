// Reader processes on the persisted horizon, with nothing but the doorbell to wake them.
#include "tests/ipc/crowd.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

TEST_CASE("followers of the persisted horizon see every entry once, in order, and never one that is not persisted") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 16 << 20}));
    const auto to = must(writer::open(path));
    const region all = must(to->allocate(12 << 20, "all"));
    const shared_memory<crowd_board> b;
    std::vector<child> crowd;
    for (unsigned self = 0; self < 6; ++self) {
        follower_options how;
        how.cursor.horizon = horizon::persisted;
        how.merged = self % 2 == 1;
        if (self >= 4)
            how.cursor.spin = std::chrono::microseconds(20);
        crowd.push_back(follower(path, *b, self, how));
    }
    b->begin = true;
    REQUIRE(eventually([&] { return b->ready == 6; }));
    crowd_feeder feed(*to, all, 3);
    std::mt19937_64 random(seed_from_environment());
    const std::uint64_t rounds = scaled(400);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        feed.append(1 + random() % 20);
        // Nobody is ahead of what was persisted last.
        const std::uint64_t persisted = to_uint(to->persisted());
        for (unsigned self = 0; self < 6; ++self)
            REQUIRE(b->seen[self] <= persisted);
        must(to->persist());
        if (round % 50 == 0)
            REQUIRE(eventually([&] { return b->all_have_seen(6, feed.appended()); }));
    }
    const auto observer = must(reader::open(path));
    CHECK(eventually([&] { return asleep(observer) >= 4; }));
    for (const auto& r : must(observer.registered()))
        CHECK(r.horizon == horizon::persisted);
    b->planned = feed.appended() + 1;
    feed.append(1);
    must(to->persist());
    CHECK(all_ended_well(crowd));
}
