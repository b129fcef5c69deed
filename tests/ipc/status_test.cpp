// What a reader can ask, and what a registered cursor means to the writer.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <array>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

struct board {
    std::atomic<unsigned> step{0};
    std::atomic<unsigned> told{0};
    std::atomic<pid_t> pid{0};

    void await(unsigned wanted) {
        demand_eventually([&] { return step >= wanted; }, "step " + std::to_string(wanted));
    }
};

std::filesystem::path make_stream(const temp_dir& dir, std::uint64_t bytes = 4 << 20) {
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = bytes}));
    return path;
}

std::span<const std::byte> text(std::string_view what) {
    return std::as_bytes(std::span(what));
}

}  // namespace

TEST_CASE("a reader can tell whether the writer is alive, gone or another one") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const auto never = must(reader::open(path)).writer();
    CHECK_FALSE(never.alive);
    CHECK_FALSE(never.restarted);
    CHECK(never.epoch == 0);

    const shared_memory<board> b;
    const auto start = [&](unsigned number) {
        return child([&, number] {
            const auto w = must(writer::open(path));
            b->step = number;
            b->await(1000);
            return 0;
        });
    };
    const auto early = must(reader::open(path));
    auto first = start(1);
    b->await(1);
    const auto from = must(reader::open(path));
    CHECK(early.writer().restarted);
    auto now = from.writer();
    CHECK(now.alive);
    CHECK_FALSE(now.restarted);
    CHECK(now.pid == static_cast<std::uint32_t>(first.pid()));
    CHECK(now.epoch == 1);
    {
        // A shared lock is no writer.
        auto looking = child([&] {
            demand(from.writer().alive, "seen from another process too");
            return 0;
        });
        CHECK(looking.wait().code == 0);
    }
    first.kill(SIGKILL);
    first.wait();
    now = from.writer();
    CHECK_FALSE(now.alive);
    CHECK_FALSE(now.restarted);
    const auto lock = must(from.block_writers());
    CHECK_FALSE(from.writer().alive);
}

TEST_CASE("a reader that stays notices each new writer") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const shared_memory<board> b;
    const auto session = [&](bool killed) {
        auto one = child([&] {
            const auto w = must(writer::open(path));
            if (killed)
                ::raise(SIGKILL);
            return 0;
        });
        one.wait();
        return static_cast<std::uint32_t>(one.pid());
    };
    session(false);
    for (const bool killed : {false, true}) {
        const auto from = must(reader::open(path));
        const auto before = from.writer();
        CHECK_FALSE(before.alive);
        CHECK_FALSE(before.restarted);
        const auto pid = session(killed);
        const auto after = from.writer();
        CHECK_FALSE(after.alive);
        CHECK(after.restarted);
        CHECK(after.epoch == before.epoch + 1);
        CHECK(after.pid == pid);
        const auto w = must(writer::open(path));
        CHECK(from.writer().alive);
        CHECK(from.writer().epoch == before.epoch + 2);
        CHECK(from.writer().pid == static_cast<std::uint32_t>(::getpid()));
    }
}

TEST_CASE("a cursor knows how far behind it is, in sequences and bytes") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const shared_memory<board> b;
    auto following = child([&] {
        b->await(1);
        const auto from = must(reader::open(path));
        auto one = must(from.follow(must(from.find("one"))));
        auto all = must(from.follow_all());
        const auto lags = [](const auto& cursor, std::uint64_t sequences, std::uint64_t bytes) {
            const auto lag = cursor.lag();
            demand(lag.sequences == sequences && lag.bytes == bytes,
                   std::to_string(lag.sequences) + " sequences and " + std::to_string(lag.bytes) + " bytes behind");
        };
        lags(one, 4, 24 + 16 + 24);  // sequences 1, 2 and 4: the newest less none
        demand(all.lag().sequences == 4, "four sequences behind");
        (void)must(one.next());
        lags(one, 3, 16 + 24);
        (void)must(one.next());
        (void)must(one.next());
        lags(one, 0, 0);
        for (unsigned left = 4; left > 0; --left) {
            demand(all.lag().sequences == left, "by the sequence");
            demand(all.lag().bytes > 0, "and by bytes");
            (void)must(all.next());
        }
        lags(all, 0, 0);
        b->told = 1;
        b->await(2);
        lags(one, 1, 16 + 104);
        lags(all, 1, 16 + 104);
        return 0;
    });
    const auto w = must(writer::open(path));
    const auto one = must(w->allocate(1 << 20, "one"));
    const auto two = must(w->allocate(1 << 20, "two"));
    (void)must(w->append(one, text("12345678")));
    (void)must(w->append(one, {}));
    (void)must(w->append(two, {}));
    (void)must(w->append(one, text("1")));
    b->step = 1;
    REQUIRE(eventually([&] { return b->told == 1 || following.poll().has_value(); }));
    (void)must(w->append(one, text(std::string(100, 'x'))));
    b->step = 2;
    CHECK(following.wait().code == 0);
}

TEST_CASE("a registered cursor in another process pins its region until it goes, is killed or is overruled") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    bool merged = false, clear = false, killed = false;
    SUBCASE("one that ends") {}
    SUBCASE("one that is killed") {
        killed = true;
    }
    SUBCASE("against clearing") {
        clear = true;
    }
    SUBCASE("a merged one that has not read all") {
        merged = true;
    }
    const shared_memory<board> b;
    auto pinning = child([&] {
        b->await(1);
        const auto from = must(reader::open(path, {.name = "the one that pins"}));
        const auto where = must(from.find("pinned"));
        auto one = merged ? std::optional<cursor>() : must(from.follow(where));
        auto all = merged ? must(from.follow_all()) : std::optional<merged_cursor>();
        auto unregistered = must(from.follow(must(from.find("other")), {.registered = false}));
        demand(!unregistered.registered(), "as asked");
        b->told = 1;
        b->await(2);
        one.reset();
        all.reset();
        b->told = 2;
        b->await(3);
        return 0;
    });
    const auto w = must(writer::open(path));
    const auto where = must(w->allocate(1000, "pinned"));
    const auto other = must(w->allocate(1000, "other"));
    (void)must(w->append(where, text("read me")));
    const auto drop = [&](region which, bool force) {
        if (!clear)
            return w->free(which, force);
        auto cleared = w->clear(which, force);
        return cleared ? result<void>() : tl::unexpected(cleared.error());
    };
    b->step = 1;
    REQUIRE(eventually([&] { return b->told == 1 || pinning.poll().has_value(); }));
    const auto refused = drop(where, false);
    CHECK(code_of(refused) == "pinned");
    CHECK(message_of(refused).find("the one that pins") != std::string::npos);
    CHECK(message_of(refused).find(std::to_string(pinning.pid())) != std::string::npos);
    CHECK(code_of(w->append(where, text("still there"))) == "ok");
    if (!merged)
        CHECK(code_of(drop(other, false)) == "ok");  // an unregistered cursor pins nothing
    if (killed) {
        pinning.kill(SIGKILL);
        pinning.wait();
    } else {
        b->step = 2;
        REQUIRE(eventually([&] { return b->told == 2; }));
    }
    CHECK(code_of(drop(where, false)) == "ok");  // at once, whatever the slot still says
    b->step = 3;
    if (!killed)
        CHECK(pinning.wait().code == 0);
}

TEST_CASE("a region freed by force under a reader of another process: region_gone, and no entry passes for valid") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    bool clear = false;
    SUBCASE("freed, its blocks taken by another") {}
    SUBCASE("cleared and filled anew") {
        clear = true;
    }
    const shared_memory<board> b;
    auto reading = child([&] {
        b->await(1);
        const auto from = must(reader::open(path));
        auto cursor = must(from.follow(must(from.find("doomed"))));
        const auto first = must(cursor.next());
        demand(first.has_value(), "the first entry");
        std::vector<std::byte> copy;
        must(first->read_into(copy));
        demand(std::ranges::equal(copy, text("first")), "its bytes");
        demand(first->valid(), "it is valid");
        b->told = 1;
        b->await(2);
        demand(!first->valid(), "not valid any more");
        demand(code_of(first->read_into(copy)) == "region_gone", "nor copied");
        demand(copy.empty(), "nothing is left in the copy");
        for (int i = 0; i < 2; ++i) {
            demand(code_of(cursor.next()) == "region_gone", "next() tells");
            demand(code_of(cursor.wait()) == "region_gone", "wait() tells");
        }
        unsigned shown = 0;
        for (const auto& e : cursor)
            shown += e.valid();
        demand(shown == 0 && code_of(cursor.status()) == "region_gone", "a range-for ends and tells");
        demand(code_of(from.describe(first->where())) == "region_gone", "describe() tells");
        demand(code_of(from.follow(first->where())) == "region_gone", "follow() tells");
        return 0;
    });
    const auto w = must(writer::open(path));
    auto doomed = must(w->allocate(3000, "doomed"));
    (void)must(w->append(doomed, text("first")));
    (void)must(w->append(doomed, text("second")));
    b->step = 1;
    REQUIRE(eventually([&] { return b->told == 1 || reading.poll().has_value(); }));
    if (clear) {
        const auto cleared = must(w->clear(doomed, true));
        CHECK(cleared.generation() > doomed.generation());
        (void)must(w->append(cleared, text("FIRST")));
    } else {
        must(w->free(doomed, true));
        const auto next = must(w->allocate(3000, "next"));
        CHECK(next.index() == doomed.index());
        (void)must(w->append(next, text("FIRST")));
    }
    CHECK(code_of(w->append(doomed, {})) == "region_gone");
    b->step = 2;
    CHECK(reading.wait().code == 0);
}

TEST_CASE("a reader that sleeps for ever on a region learns that it was freed or cleared") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 4 << 20, .block_bytes = 64}));
    unsigned regions_before = 0;
    bool clear = false;
    SUBCASE("freed") {}
    SUBCASE("cleared") {
        clear = true;
    }
    SUBCASE("beyond the last door") {
        regions_before = 1100;
    }
    const shared_memory<board> b;
    auto sleeping = child([&] {
        b->await(1);
        const auto from = must(reader::open(path));
        auto cursor = must(from.follow(must(from.find("doomed")), doorbell_only()));
        demand(code_of(cursor.wait(wait_for_ever)) == "region_gone", "it is told");
        return 0;
    });
    const auto w = must(writer::open(path));
    for (unsigned i = 0; i < regions_before; ++i)
        (void)must(w->allocate(16));
    const auto doomed = must(w->allocate(1000, "doomed"));
    CHECK(doomed.index() >= regions_before);
    const auto observer = must(reader::open(path));
    b->step = 1;
    REQUIRE(eventually([&] { return asleep(observer) == 1; }));
    if (clear)
        CHECK(code_of(w->clear(doomed, true)) == "ok");
    else
        CHECK(code_of(w->free(doomed, true)) == "ok");
    CHECK(sleeping.wait().code == 0);
}

TEST_CASE("a merged cursor is told of a freed region once and goes on with the others") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const shared_memory<board> b;
    auto following = child([&] {
        b->await(1);
        const auto from = must(reader::open(path));
        auto all = must(from.follow_all(doorbell_only()));
        for (int i = 0; i < 2; ++i)
            demand(must(all.wait()).has_value(), "what was there");
        b->told = 1;
        unsigned gone = 0, seen = 0;
        while (seen < 3) {
            const auto got = all.wait(wait_for_ever);
            if (!got)
                demand(code_of(got) == "region_gone" && ++gone <= 1, "told once");
            else
                demand(to_uint((*got)->sequence()) == 3 + seen++, "the entries of the other regions");
        }
        demand(gone == 1, "told");
        return 0;
    });
    const auto w = must(writer::open(path));
    const auto stays = must(w->allocate(1000, "stays"));
    const auto doomed = must(w->allocate(1000, "doomed"));
    (void)must(w->append(stays, {}));
    (void)must(w->append(doomed, {}));
    b->step = 1;
    REQUIRE(eventually([&] { return b->told == 1; }));
    must(w->free(doomed, true));
    (void)must(w->append(stays, {}));
    // A region that is allocated meanwhile joins.
    (void)must(w->append(must(w->allocate(1000, "new")), {}));
    (void)must(w->append(stays, {}));
    CHECK(following.wait().code == 0);
}
