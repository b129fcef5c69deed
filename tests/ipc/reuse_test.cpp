// Blocks change hands under readers, and writers come and go: what a reader takes for an entry is one.
#include "tests/ipc/common.hpp"
#include "tests/support/region_churn.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <array>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr unsigned readers_max = 4;

struct board {
    std::atomic<bool> begin{false};
    std::atomic<bool> end{false};
    std::array<reuse_counts, readers_max> found;
};

}  // namespace

TEST_CASE("no reader takes bytes of another use of the blocks for an entry") {
    const std::uint64_t seed = seed_from_environment();
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 200'000, .block_bytes = 256}));
    const shared_memory<board> b;
    std::vector<child> readers;
    for (unsigned self = 0; self < readers_max; ++self)
        readers.emplace_back([&, self] {
            demand_eventually([&] { return b->begin.load(); }, "the writer is there");
            const auto from = must(reader::open(path));
            if (self == 3)
                follow_stream(from, b->end, b->found[self]);
            else
                follow_regions(from, b->end, b->found[self], self,
                               {.check_crc = self == 1, .spin = std::chrono::microseconds(self * 5)});
            return 0;
        });
    const auto w = must(writer::open(path));
    region_churner churn(*w, seed);
    b->begin = true;
    const auto enough = [&] {
        std::uint64_t gone = 0;
        for (unsigned i = 0; i < readers_max; ++i) {
            if (b->found[i].right < scaled(50'000))
                return false;
            gone += b->found[i].gone + b->found[i].invalid;
        }
        return gone > scaled(1000);
    };
    bool all_alive = true;
    for (std::uint64_t steps = 0; all_alive && (steps < scaled(50'000) || !enough()); ++steps) {
        churn.step();
        // With few processors readers get their turn between two steps, or while one goes on.
        if (steps % 8 == 0)
            sched_yield();
        if (steps % 1024 == 0)
            for (auto& r : readers)
                all_alive = all_alive && !r.poll();
    }
    b->end = true;
    CHECK(all_alive);
    CHECK(all_ended_well(readers));
    std::uint64_t right = 0, invalid = 0, gone = 0;
    for (unsigned i = 0; i < readers_max; ++i) {
        right += b->found[i].right;
        invalid += b->found[i].invalid;
        gone += b->found[i].gone;
    }
    MESSAGE("seed " << seed << ": " << churn.appended << " entries appended, " << churn.dropped
                    << " regions freed or cleared; " << right << " entries were right, " << invalid
                    << " not valid any more, " << gone << " times a region was gone");
    CHECK(invalid > 0);
}

TEST_CASE("readers that open and read while writers come and go are never told of damage") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 1 << 20}));
    const shared_memory<board> b;
    std::vector<child> readers;
    for (unsigned self = 0; self < 3; ++self)
        readers.emplace_back([&, self] {
            while (!b->end) {
                const auto from = must(reader::open(path, {.without_control = self != 0}));
                for (const auto& info : must(from.regions())) {
                    auto cursor = must(from.follow(info.handle));
                    for (std::uint64_t number = 0;; ++number) {
                        const auto got = must(cursor.next());
                        if (!got)
                            break;
                        demand(plan_of(got->where()).matches(got->payload(), number), "the next entry");
                    }
                }
                (void)must(from.extents());
                (void)from.info();
                (void)from.writer();
                ++b->found[self].right;
            }
            return 0;
        });
    const unsigned sessions = scaled(500);
    payload_buffer buffer;
    std::uint64_t next = 0;
    for (unsigned i = 0; i < sessions; ++i) {
        const auto w = must(writer::open(path));
        CHECK_MESSAGE(w->recovery().found == recovery_report::state::clean, "session " << i);
        const auto all = i == 0 ? must(w->allocate(900'000, "all")) : must(w->find("all"));
        for (unsigned n = 0; n < 3; ++n)
            (void)must(w->append(all, buffer.make(plan_of(all), next++)));
        must(w->close());
    }
    // At least as many looks while writers come and go as it takes to be seen at all.
    b->end = true;
    CHECK(all_ended_well(readers));
    MESSAGE(sessions << " sessions of writers; readers opened the stream " << b->found[0].right.load() << ", "
                     << b->found[1].right.load() << " and " << b->found[2].right.load() << " times");
    CHECK(b->found[0].right + b->found[1].right + b->found[2].right > 10);
}

TEST_CASE("a merged cursor that begins at the newest entry leaves out none after it") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 32 << 20}));
    const shared_memory<board> b;
    std::vector<child> readers;
    for (unsigned self = 0; self < 2; ++self)
        readers.emplace_back([&, self] {
            demand_eventually([&] { return b->begin.load(); }, "the regions are there");
            const auto from = must(reader::open(path));
            while (!b->end) {
                auto cursor = must(from.follow_all({.start = from_newest(), .spin = spin_for_ever}));
                auto last = to_uint(cursor.last());
                for (int i = 0; i < 20; ++i) {
                    const auto got = must(cursor.wait(std::chrono::milliseconds(1)));
                    if (!got)
                        continue;
                    demand(to_uint(got->sequence()) == ++last, "the sequence after the last one");
                    ++b->found[self].right;
                }
            }
            return 0;
        });
    const auto w = must(writer::open(path));
    std::vector<region> regions;
    for (int i = 0; i < 12; ++i)
        regions.push_back(must(w->allocate(2 << 20)));
    b->begin = true;
    std::uint64_t appended = 0;
    const std::uint64_t wanted = scaled(2000);
    while ((b->found[0].right < wanted || b->found[1].right < wanted) && appended < 1'000'000) {
        if (!w->append(regions[appended % regions.size()], {}))
            break;
        ++appended;
        for (int i = 0; i < 3000; ++i)
            std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    b->end = true;
    CHECK(all_ended_well(readers));
    MESSAGE(appended << " entries appended, " << b->found[0].right.load() << " and " << b->found[1].right.load()
                     << " seen");
    CHECK(b->found[0].right.load() >= wanted);
    CHECK(b->found[1].right.load() >= wanted);
}
