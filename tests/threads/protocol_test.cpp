// The writer and its readers as threads of one process, over mappings of their own. Also the place where the thread
// sanitizer sees what a process shares among its threads: a reader used by several, the control file moved over to,
// the housekeeper beside the appender.
#include "tests/support/entry_plan.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/region_churn.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_numbers.hpp"
#include "tests/threads/team.hpp"

#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>
#include <sched.h>
#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

using namespace pmemstream;
using namespace pmemstream::test;
namespace fs = std::filesystem;

namespace {

cursor_options doorbell_only() {
    cursor_options options;
    options.spin = std::chrono::nanoseconds(0);
    options.sleep_max = sleep_for_ever;
    return options;
}

constexpr entry_plan plan(3, 100);
constexpr unsigned readers_max = 6;

struct board {
    std::atomic<unsigned> ready{0};
    std::atomic<std::uint64_t> planned{~std::uint64_t{0}};
    std::array<std::atomic<std::uint64_t>, readers_max> seen{};

    [[nodiscard]] bool all_have_seen(unsigned readers, std::uint64_t entries) const {
        return std::all_of(seen.begin(), seen.begin() + readers, [entries](const auto& s) { return s >= entries; });
    }
};

template <class Cursor>
void follow(Cursor cursor, board& b, unsigned self) {
    ++b.ready;
    for (std::uint64_t next = 0; next < b.planned;) {
        const auto got = must(cursor.wait(wait_for_ever));
        demand(got.has_value(), "a wait for ever ends with an entry");
        demand(plan.matches(got->payload(), next), "entry " + std::to_string(next) + " comes next, whole");
        (void)cursor.lag();
        b.seen[self] = ++next;
    }
}

/// Appends, waiting now and then until every reader is on its way to sleep.
void feed(writer& w, region where, std::uint64_t entries, board& b, unsigned readers, const team& others,
          const std::function<void(std::uint64_t)>& now_and_then = {}) {
    payload_buffer buffer;
    std::mt19937_64 random(entries);
    const auto caught_up = [&](std::uint64_t appended) {
        while (!b.all_have_seen(readers, appended) && !others.failed)
            sched_yield();
    };
    for (std::uint64_t n = 0; n < entries && !others.failed; ++n) {
        if (n + 1 == entries) {
            caught_up(n);
            b.planned = entries;
        }
        (void)must(w.append(where, buffer.make(plan, n)));
        if (random() % 8 == 0)
            caught_up(n + 1);
        if (now_and_then)
            now_and_then(n);
    }
    caught_up(entries);
}

fs::path make_stream(const temp_dir& dir, std::uint64_t bytes) {
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = bytes, .block_bytes = 256}));
    return path;
}

}  // namespace

TEST_CASE("threads that sleep on the doorbell, over mappings of their own, see every entry once and in order") {
    const temp_dir dir;
    const auto path = make_stream(dir, 16 << 20);
    const auto w = must(writer::open(path));
    const auto all = must(w->allocate(15 << 20, "all"));
    board b;
    team readers;
    constexpr unsigned count = 4;
    for (unsigned self = 0; self < count; ++self)
        readers.add([&, self] {
            const auto from = must(reader::open(path));
            auto options = doorbell_only();
            if (self == 3)
                options.spin = spin_for_ever;
            if (self == 2)
                follow(must(from.follow_all(options)), b, self);
            else
                follow(must(from.follow(all, options)), b, self);
        });
    REQUIRE(eventually([&] { return b.ready == count || readers.failed; }));
    const auto entries = scaled(6000);
    feed(*w, all, entries, b, count, readers);
    CHECK(readers.join() == "");
    CHECK(b.all_have_seen(count, entries));
    CHECK(w->doorbell_rings() > entries / 100);
}

TEST_CASE("one reader serves several threads, beside a table that grows") {
    const temp_dir dir;
    const auto path = make_stream(dir, 16 << 20);
    const auto w = must(writer::open(path));
    const auto all = must(w->allocate(8 << 20, "all"));
    const auto from = must(reader::open(path));
    board b;
    team readers;
    constexpr unsigned count = 4;
    for (unsigned self = 0; self < count; ++self)
        readers.add([&, self] {
            const auto copy = from;
            if (self % 2 == 0)
                follow(must(copy.follow(must(from.find("all")), doorbell_only())), b, self);
            else
                follow(must(copy.follow_all(doorbell_only())), b, self);
        });
    std::atomic<bool> end{false};
    std::atomic<unsigned> asked{0};
    readers.add([&] {
        for (; !end; ++asked) {
            (void)must(from.regions());
            (void)must(from.extents());
            (void)must(from.registered());
            demand(from.control() == control_state::attached, "the control file stays");
            demand(from.writer().alive, "the writer is alive");
            (void)from.info();
            // Short-lived ones take slots and give them back.
            demand(must(from.follow(must(from.find("all")))).registered(), "a slot is to be had");
        }
    });
    REQUIRE(eventually([&] { return b.ready == count || readers.failed; }));
    const auto entries = scaled(4000);
    const auto slots = w->info().region_slots;
    unsigned allocated = 0;
    feed(*w, all, entries, b, count, readers, [&](std::uint64_t n) {
        if (n % 10 == 0 && allocated < 150) {
            (void)must(w->allocate(16));
            ++allocated;
        }
    });
    REQUIRE(eventually([&] { return asked > 3 || readers.failed; }));
    end = true;
    CHECK(readers.join() == "");
    CHECK(b.all_have_seen(count, entries));
    if (entries >= 4000)
        CHECK(w->info().region_slots > slots);
}

TEST_CASE("regions freed, cleared and reused under threads that read them") {
    const std::uint64_t seed = seed_from_environment();
    const temp_dir dir;
    const auto path = make_stream(dir, 200'000);
    const auto w = must(writer::open(path));
    constexpr unsigned count = 3;
    std::array<reuse_counts, count> found;
    std::atomic<bool> end{false};
    team readers;
    for (unsigned self = 0; self < count; ++self)
        readers.add([&, self] {
            const auto from = must(reader::open(path));
            if (self == 2)
                follow_stream(from, end, found[self]);
            else
                follow_regions(from, end, found[self], self, {.check_crc = self == 1});
        });
    region_churner churn(*w, seed);
    const auto enough = [&] {
        return std::all_of(found.begin(), found.end(),
                           [](const auto& f) { return f.right > scaled(5000) && f.gone + f.invalid > scaled(100); });
    };
    for (std::uint64_t steps = 0; (steps < scaled(10'000) || !enough()) && !readers.failed; ++steps) {
        churn.step();
        if (steps % 8 == 0)
            sched_yield();
    }
    end = true;
    CHECK(readers.join() == "");
    MESSAGE("seed " << seed << ": " << churn.appended << " entries, " << churn.dropped << " regions dropped; "
                    << found[0].right.load() << ", " << found[1].right.load() << " and " << found[2].right.load()
                    << " were right");
}

TEST_CASE("the control file deleted while a thread appends and others sleep") {
    const temp_dir dir;
    const auto path = make_stream(dir, 16 << 20);
    const auto control = fs::path(path.string() + ".ctl");
    const auto w = must(writer::open(path));
    const auto all = must(w->allocate(15 << 20, "all"));
    const auto shared = must(reader::open(path));
    board b;
    team readers;
    constexpr unsigned count = 4;
    for (unsigned self = 0; self < count; ++self)
        readers.add([&, self] {
            const auto from = self < 2 ? shared : must(reader::open(path));
            if (self % 2 == 0)
                follow(must(from.follow(all, doorbell_only())), b, self);
            else
                follow(must(from.follow_all(doorbell_only())), b, self);
        });
    REQUIRE(eventually([&] { return b.ready == count || readers.failed; }));
    std::atomic<bool> end{false};
    std::atomic<unsigned> deleted{0};
    readers.add([&] {
        while (deleted < 4) {
            demand_eventually([&] { return end || fs::exists(control); }, "a new control file");
            if (fs::remove(control))
                ++deleted;
            (void)shared.registered();
            (void)w->doorbell_rings();
        }
    });
    payload_buffer buffer;
    std::uint64_t n = 0;
    for (; (deleted < 4 || n < scaled(5000)) && !readers.failed; ++n) {
        (void)must(w->append(all, buffer.make(plan, n)));
        while (!b.all_have_seen(count, n + 1) && !readers.failed)
            sched_yield();
        // Not so fast that the region is full before four files were made.
        if (n >= scaled(5000))
            ::usleep(500);
    }
    b.planned = n + 1;
    (void)must(w->append(all, buffer.make(plan, n)));
    CHECK(readers.join() == "");
    CHECK(deleted == 4);
    CHECK(b.all_have_seen(count, n + 1));
    CHECK(eventually([&] { return must(reader::open(path)).control() == control_state::attached; }));
}
