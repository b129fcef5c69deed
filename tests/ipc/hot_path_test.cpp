// The hot path makes no system call and allocates nothing: a filter kills the process at the first system call of the
// thread under test, which therefore leaves its results in shared memory and never ends by itself.
#include "tests/ipc/common.hpp"
#include "tests/support/allocation_count.hpp"
#include "tests/support/system_call_filter.hpp"

#include <doctest/doctest.h>
#include <array>
#include <functional>
#include <thread>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

struct board {
    std::atomic<bool> regions{false};
    std::atomic<unsigned> ready{0};
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> times{0};
    std::atomic<std::uint64_t> nothing_yet{0};
    std::atomic<std::uint64_t> allocations{0};
    std::atomic<std::uint64_t> seen{0};
    std::atomic<bool> end{false};
};

/// Runs `work(times)` on a thread that may make no system call. The thread is left running.
void run_without_system_calls(board& b, const std::function<std::uint64_t()>& work) {
    std::thread([&b, &work] {
        forbid_system_calls_to_this_thread();
        const std::uint64_t before = allocations_of_this_thread();
        const std::uint64_t times = work();
        b.allocations.store(allocations_of_this_thread() - before);
        b.times.store(times);
        b.done.store(true);
        for (;;)
            ;
    }).detach();
    demand_eventually([&] { return b.done.load(); }, "the work is done");
    std::_Exit(0);
}

enum class beside { nobody, spinning_reader, sleeping_reader };

/// One process appends under the filter, beside a reader in another. Gives how the appending process ended.
child_exit append_beside(beside whom, board& b, const std::filesystem::path& path,
                         const std::function<std::uint64_t(writer&, region)>& work) {
    must(create(path, {.stream_bytes = 96 << 20}));
    std::optional<child> follower;
    if (whom != beside::nobody)
        follower.emplace([&] {
            demand_eventually([&] { return b.regions.load(); }, "the region is there");
            const auto from = must(reader::open(path));
            auto cursor = must(
                from.follow(must(from.find("all")), whom == beside::spinning_reader ? spinning() : doorbell_only()));
            demand(cursor.registered(), "the cursor is registered");
            ++b.ready;
            for (;;) {
                demand(must(cursor.wait(wait_for_ever)).has_value(), "a wait for ever ends with an entry");
                ++b.seen;
            }
            return 0;
        });
    child appender([&] {
        const auto w = must(writer::open(path));
        const auto all = must(w->allocate(90 << 20, "all"));
        const auto observer = must(reader::open(path));
        b.regions = true;
        if (whom != beside::nobody)
            demand_eventually([&] { return b.ready == 1; }, "the reader follows");
        if (whom == beside::sleeping_reader)
            demand_eventually([&] { return asleep(observer) == 1; }, "the reader sleeps");
        run_without_system_calls(b, [&] { return work(*w, all); });
        return 0;
    });
    const auto end = appender.wait();
    if (follower) {
        CHECK_FALSE(follower->poll().has_value());  // it was there all the time
        if (whom == beside::spinning_reader && !end.signalled)
            CHECK(eventually([&] { return b.seen >= b.times; }));
    }
    return end;
}

std::uint64_t append_many(writer& to, region where, std::uint64_t times) {
    static constexpr std::array<std::byte, 40> payload{};
    for (std::uint64_t i = 0; i < times; ++i)
        if (!to.append(where, payload))
            return i;
    return times;
}

void expect_silent(const child_exit& end, const board& b, std::uint64_t times) {
    CHECK_FALSE(end.signalled);
    CHECK(end.code == 0);
    CHECK(b.times.load() == times);
    CHECK(b.allocations.load() == 0);
}

constexpr std::uint64_t million = 1'000'000;

}  // namespace

TEST_CASE("a million appends beside a spinning reader make no system call and allocate nothing") {
    const temp_dir dir;
    const shared_memory<board> b;
    const auto end = append_beside(beside::spinning_reader, *b, dir / "stream",
                                   [](writer& w, region all) { return append_many(w, all, million); });
    expect_silent(end, *b, million);
    CHECK(b->seen >= million);
}

TEST_CASE("batches and reservations beside a spinning reader make no system call and allocate nothing") {
    const temp_dir dir;
    const shared_memory<board> b;
    const auto end = append_beside(beside::spinning_reader, *b, dir / "stream", [](writer& w, region all) {
        static constexpr std::array<std::byte, 24> payload{};
        constexpr std::array<std::span<const std::byte>, 3> batch{payload, payload, payload};
        std::uint64_t entries = 0;
        for (unsigned i = 0; i < 100'000; ++i) {
            entries += w.append_batch(all, batch) ? batch.size() : 0;
            auto first = w.reserve(all, 16);
            auto second = w.reserve(all, 5);
            auto third = w.reserve(all, 8);
            if (!first || !second || !third)
                return entries;
            // Out of order, and one given up.
            entries += w.publish(std::move(*third)).has_value();
            (void)w.abandon(std::move(*second));
            entries += w.publish(std::move(*first)).has_value();
        }
        return entries;
    });
    expect_silent(end, *b, 500'000);
}

TEST_CASE("control: an append that a sleeping reader waits for makes a system call") {
    const temp_dir dir;
    const shared_memory<board> b;
    const auto end = append_beside(beside::sleeping_reader, *b, dir / "stream",
                                   [](writer& w, region all) { return append_many(w, all, million); });
    CHECK(end.signalled);
    CHECK(end.code == SIGSYS);
    CHECK_FALSE(b->done);
}

TEST_CASE("within a thousand appends of a sleeper's death the writer makes no system call any more") {
    bool merged = false;
    SUBCASE("that slept on a region") {}
    SUBCASE("that slept on the stream") {
        merged = true;
    }
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 16 << 20}));
    const shared_memory<board> b;
    child sleeper([&] {
        demand_eventually([&] { return b->regions.load(); }, "the region is there");
        const auto from = must(reader::open(path));
        if (merged)
            (void)must(from.follow_all(doorbell_only())).wait(wait_for_ever);
        else
            (void)must(from.follow(must(from.find("all")), doorbell_only())).wait(wait_for_ever);
        return 1;
    });
    child appender([&] {
        const auto w = must(writer::open(path));
        const auto all = must(w->allocate(12 << 20, "all"));
        const auto observer = must(reader::open(path));
        b->regions = true;
        demand_eventually([&] { return asleep(observer) == 1; }, "the reader sleeps");
        ++b->ready;
        demand_eventually([&] { return b->end.load(); }, "the reader is dead");
        demand(append_many(*w, all, 1000) == 1000, "room for the appends");
        run_without_system_calls(*b, [&] { return append_many(*w, all, 100'000); });
        return 0;
    });
    REQUIRE(eventually([&] { return b->ready == 1; }));
    ::usleep(1000);  // from the hint to the sleep itself; a kill before it is as good a case
    sleeper.kill(SIGKILL);
    REQUIRE(sleeper.wait().signalled);
    b->end = true;
    expect_silent(appender.wait(), *b, 100'000);
}

namespace {

/// A process whose reading thread may make no system call, beside a writer that appends all the while.
template <class Follow>
void read_beside_writer(Follow follow, bool spin_in_wait) {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 72 << 20}));
    const shared_memory<board> b;
    child follower([&] {
        demand_eventually([&] { return b->regions.load(); }, "the regions are there");
        const auto from = must(reader::open(path));
        auto cursor = follow(from);
        demand(cursor.registered(), "the cursor is registered");
        // The first entry of each region: regions may have to join.
        for (int i = 0; i < 2; ++i)
            demand(must(cursor.wait(wait_for_ever)).has_value(), "an entry comes");
        ++b->ready;
        run_without_system_calls(*b, [&] {
            std::uint64_t seen = 0, nothing = 0;
            while (seen < million) {
                const auto got = spin_in_wait ? cursor.wait(wait_for_ever) : cursor.next();
                if (!got)
                    break;
                ++(*got ? seen : nothing);
            }
            b->nothing_yet = nothing;
            return seen;
        });
        return 0;
    });
    const auto w = must(writer::open(path));
    const auto one = must(w->allocate(32 << 20, "one"));
    const auto two = must(w->allocate(32 << 20, "two"));
    (void)must(w->append(one, {}));
    (void)must(w->append(one, {}));
    (void)must(w->append(two, {}));
    (void)must(w->append(two, {}));
    b->regions = true;
    REQUIRE(eventually([&] { return b->ready == 1; }));
    static constexpr std::array<std::byte, 9> payload{};
    std::uint64_t n = 0;
    // A little at a time: the reader finds nothing now and then.
    for (; n < 10 * million && !follower.poll(); ++n) {
        if (!w->append(n % 2 == 0 ? one : two, payload))
            break;
        if (n % 100 == 0)
            for (int i = 0; i < 500; ++i)
                std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    const auto end = follower.wait();
    MESSAGE("nothing to read " << b->nothing_yet.load() << " times");
    expect_silent(end, *b, million);
    if (!spin_in_wait)
        CHECK(b->nothing_yet.load() > 0);
}

}  // namespace

TEST_CASE("a million entries read by a cursor beside the writer cost no system call and no allocation") {
    const auto one = [](const reader& from) { return must(from.follow(must(from.find("one")), spinning())); };
    SUBCASE("with next()") {
        read_beside_writer(one, false);
    }
    SUBCASE("with a wait() that spins") {
        read_beside_writer(one, true);
    }
}

TEST_CASE("a million entries read by a merged cursor beside the writer cost no system call and no allocation") {
    const auto all = [](const reader& from) { return must(from.follow_all(spinning())); };
    SUBCASE("with next()") {
        read_beside_writer(all, false);
    }
    SUBCASE("with a wait() that spins") {
        read_beside_writer(all, true);
    }
}
