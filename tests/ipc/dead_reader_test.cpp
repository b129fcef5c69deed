// Readers that are killed, asleep and awake: what they leave behind costs the writer next to nothing, and not for long.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <array>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr unsigned victims_max = 128;

struct board {
    std::array<std::atomic<bool>, victims_max> start{};
    std::array<std::atomic<std::uint64_t>, victims_max> seen{};
    std::atomic<unsigned> registered{0};
    std::atomic<bool> end{false};
};

enum class habit : unsigned { asleep, asleep_on_the_stream, awake, count };

[[noreturn]] void read_until_killed(const std::filesystem::path& path, habit how, std::atomic<std::uint64_t>& seen) {
    const auto from = must(reader::open(path, {.name = "victim"}));
    const auto options = how == habit::awake ? spinning() : doorbell_only();
    const auto follow = [&](auto cursor) {
        demand(cursor.registered(), "the cursor is registered");
        for (;;) {
            demand(must(cursor.wait(wait_for_ever)).has_value(), "a wait for ever ends with an entry");
            ++seen;
        }
    };
    if (how == habit::asleep_on_the_stream)
        follow(must(from.follow_all(options)));
    follow(must(from.follow(must(from.find("all")), options)));
    std::abort();
}

void append_some(writer& to, region where, unsigned times) {
    for (; times > 0; --times)
        (void)must(to.append(where, {}));
}

/// Slots that still name the process, by whether they say that it lives.
std::pair<unsigned, unsigned> alive_and_dead_slots(const reader& observer, pid_t pid) {
    std::pair<unsigned, unsigned> found;
    for (const auto& r : must(observer.registered()))
        if (r.pid == static_cast<std::uint32_t>(pid))
            ++(r.alive ? found.first : found.second);
    return found;
}

}  // namespace

TEST_CASE("a killed reader, asleep or awake, costs the writer one ring at most, and its slot is reclaimed") {
    const std::uint64_t seed = seed_from_environment();
    std::mt19937_64 random(seed);
    const auto rounds = std::min<std::uint64_t>(scaled(90), victims_max);
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 16 << 20}));
    const shared_memory<board> b;
    const auto habit_of = [](unsigned round) {
        return static_cast<habit>(round % static_cast<unsigned>(habit::count));
    };
    std::vector<child> victims;
    for (unsigned i = 0; i < rounds; ++i)
        victims.emplace_back([&, i]() -> int {
            demand_eventually([&] { return b->start[i].load(); }, "its turn");
            read_until_killed(path, habit_of(i), b->seen[i]);
        });

    const auto w = must(writer::open(path));
    const auto all = must(w->allocate(12 << 20, "all"));
    const auto observer = must(reader::open(path));
    unsigned killed_asleep = 0, killed_awake = 0, seen_dead = 0;
    for (unsigned i = 0; i < rounds; ++i) {
        auto& victim = victims[i];
        b->start[i] = true;
        while (b->seen[i] < 50) {
            append_some(*w, all, 1);
            sched_yield();
        }
        if (habit_of(i) == habit::awake) {
            append_some(*w, all, static_cast<unsigned>(random() % 500));
            ++killed_awake;
        } else {
            // The hint comes a little before the sleep: some are killed on the way.
            REQUIRE(eventually([&] { return asleep(observer, victim.pid()) == 1; }));
            if (random() % 2 == 0)
                ::usleep(200);
            ++killed_asleep;
        }
        victim.kill(SIGKILL);
        const auto end = victim.wait();
        REQUIRE(end.signalled);
        REQUIRE(end.code == SIGKILL);

        const auto [alive, dead] = alive_and_dead_slots(observer, victim.pid());
        CHECK(alive == 0);
        seen_dead += dead;
        append_some(*w, all, 1000);
        const auto rings = w->doorbell_rings();
        append_some(*w, all, 1000);
        CHECK(w->doorbell_rings() == rings);
    }
    MESSAGE("seed " << seed << ": " << killed_asleep << " killed asleep, " << killed_awake << " awake; " << seen_dead
                    << " slots were seen to be of a dead process; " << w->doorbell_rings() << " rings");
    CHECK(killed_asleep >= rounds / 2);
    CHECK(killed_awake >= rounds / 4);
    CHECK(seen_dead > 0);
    // Nobody else needs the slots, and still they are reclaimed.
    CHECK(eventually([&] { return must(observer.registered()).empty(); }));
    must(w->free(all));  // nothing pins it either
}

TEST_CASE("sleepers beside one that is killed in its sleep are woken as before") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 4 << 20}));
    const auto rounds = std::min<std::uint64_t>(scaled(60), victims_max);
    const shared_memory<board> b;
    std::vector<child> victims, survivors;
    for (unsigned i = 0; i < rounds; ++i)
        victims.emplace_back([&, i]() -> int {
            demand_eventually([&] { return b->start[i].load(); }, "its turn");
            read_until_killed(path, i % 2 == 0 ? habit::asleep : habit::asleep_on_the_stream, b->seen[i]);
        });
    std::array<shared_memory<std::atomic<std::uint64_t>>, 2> seen;
    for (unsigned i = 0; i < seen.size(); ++i)
        survivors.emplace_back([&, i] {
            demand_eventually([&] { return b->start[0].load(); }, "the region is there");
            const auto from = must(reader::open(path));
            const auto follow = [&](auto cursor) {
                while (must(cursor.wait(wait_for_ever))->payload().empty())
                    ++*seen[i];
            };
            if (i == 0)
                follow(must(from.follow(must(from.find("all")), doorbell_only())));
            else
                follow(must(from.follow_all(doorbell_only())));
            return 0;
        });

    const auto w = must(writer::open(path));
    const auto all = must(w->allocate(2 << 20, "all"));
    const auto observer = must(reader::open(path));
    std::uint64_t appended = 0;
    for (unsigned i = 0; i < rounds; ++i) {
        b->start[i] = true;
        append_some(*w, all, 1);
        ++appended;
        REQUIRE(eventually([&] { return asleep(observer) == 3 && *seen[0] == appended && *seen[1] == appended; }));
        victims[i].kill(SIGKILL);
        if (i % 2 == 0)
            REQUIRE(victims[i].wait().signalled);  // else the appends race with its death
        for (unsigned n = 0; n < 20; ++n) {
            append_some(*w, all, 1);
            ++appended;
            // Nothing wakes the two but this.
            REQUIRE(eventually([&] { return *seen[0] == appended && *seen[1] == appended; }));
        }
    }
    (void)must(w->append(all, std::as_bytes(std::span("the end"))));
    CHECK(all_ended_well(survivors));
    CHECK(appended == rounds * 21);
    CHECK(w->doorbell_rings() > rounds * 10);
}

TEST_CASE("new readers take over the slots of the dead, also when no writer is there to reclaim them") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 1 << 20}));
    const shared_memory<board> b;
    const auto take_all = [&] {
        const auto from = must(reader::open(path));
        const auto where = must(from.find("all"));
        std::vector<cursor> cursors;
        do
            cursors.push_back(must(from.follow(where)));
        while (cursors.back().registered() && cursors.size() < 100'000);
        b->registered = static_cast<unsigned>(cursors.size() - 1);
        demand_eventually([&] { return b->end.load(); }, "the end");
        return 0;
    };
    const auto start = [&](unsigned number) {
        return child([&, number] {
            demand_eventually([&] { return b->start[number].load(); }, "its turn");
            return take_all();
        });
    };
    auto first = start(0), second = start(1);
    {
        const auto w = must(writer::open(path));
        (void)must(w->append(must(w->allocate(1000, "all")), {}));
    }
    const auto observer = must(reader::open(path));
    const auto all = must(observer.find("all"));
    b->start[0] = true;
    REQUIRE(eventually([&] { return b->registered != 0; }));
    const unsigned slots = b->registered;
    REQUIRE(slots >= 64);
    REQUIRE(slots < 100'000);
    CHECK(must(observer.registered()).size() == slots);
    {
        auto without = must(observer.follow(all));
        CHECK_FALSE(without.registered());
        CHECK(must(without.next()).has_value());
    }
    first.kill(SIGKILL);
    first.wait();
    for (const auto& r : must(observer.registered()))
        REQUIRE_FALSE(r.alive);
    CHECK(must(observer.registered()).size() == slots);
    b->registered = 0;
    b->start[1] = true;
    REQUIRE(eventually([&] { return b->registered != 0; }));
    CHECK(b->registered == slots);
    unsigned of_second = 0;
    for (const auto& r : must(observer.registered()))
        of_second += r.alive && r.pid == static_cast<std::uint32_t>(second.pid());
    CHECK(of_second == slots);
    b->end = true;
    CHECK(second.wait().code == 0);
}
