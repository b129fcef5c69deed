#include "tests/crash/kill_model.hpp"
#include "tests/crash/killed_program.hpp"
#include "tests/support/small_stream.hpp"
#include "tests/support/test_numbers.hpp"

#include <doctest/doctest.h>

#include <fmt/format.h>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

// Writers are killed at numbered points and at random moments. A round counts if the writer died with 0 < appended <
// planned, where appended is what it reported after each append returned. After every round a fresh process looks at
// the stream, opens it, looks again and goes on writing, and all it sees is compared with what was reported.

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using base::kill_point;

/// Where a round's writer is killed.
struct phase {
    const char* name;
    kill_point point;             ///< none: see the name
    const char* focus;            ///< the step that the writer does most
    unsigned visits_max;          ///< it dies at one of so many visits of the point
    bool second_process = false;  ///< a first writer is killed while it appends, a second one at the point
    bool fresh_only = false;
};

constexpr unsigned planned = 60;
constexpr phase reservation_phase{"reservation", kill_point::none, "reserve", 30};
constexpr phase free_running_phase{"free-running", kill_point::none, "", 0};

const phase phases[] = {
    {"copy", kill_point::copy, "", 50},
    {"copy in a batch", kill_point::copy, "batch", 60},
    {"before commit", kill_point::before_commit, "", 35},
    {"before commit of a batch", kill_point::before_commit, "batch", 25},
    {"between commits", kill_point::between_commits, "", 35},
    reservation_phase,
    {"allocate prepared", kill_point::allocate_prepared, "allocate", 6},
    {"allocate done", kill_point::allocate_done, "allocate", 6},
    {"table segment", kill_point::table_segment_written, "grow", 1, false, true},
    {"free begun", kill_point::free_begin, "free", 6},
    {"free done", kill_point::free_done, "free", 6},
    {"clear marked", kill_point::clear_marked, "clear", 6},
    {"clear emptied", kill_point::clear_emptied, "clear", 6},
    {"clear in recovery", kill_point::clear_emptied, "clear", 1, true},
    {"flush synced", kill_point::flush_synced, "persist", 12},
    {"between persists", kill_point::between_persists, "persist", 12},
    {"close", kill_point::close_persisted, "reopen", 5},
    {"open locked", kill_point::open_locked, "reopen", 5},
    {"open recovered", kill_point::open_recovered, "reopen", 5},
    {"open epoch stored", kill_point::open_epoch_stored, "reopen", 5},
    {"open done", kill_point::open_done, "reopen", 5},
    {"recovery locked", kill_point::open_locked, "", 1, true},
    {"recovery recovered", kill_point::open_recovered, "", 1, true},
    {"recovery epoch stored", kill_point::open_epoch_stored, "", 1, true},
    {"recovery done", kill_point::open_done, "", 1, true},
    free_running_phase,
};

/// A stream with its model.
struct kept_stream {
    small_stream stream;
    kill_model model;
    std::uint64_t seed;

    kept_stream(std::uint64_t seed_, std::uint64_t bytes, std::uint64_t block)
        : stream(bytes, block), model(seed_), seed(seed_) {}

    [[nodiscard]] std::vector<std::string> words(const std::string& command) const {
        return {command, stream.file.string(), "{fd}", std::to_string(seed), std::to_string(model.next_number())};
    }
};

class killer {
public:
    explicit killer(std::uint64_t seed) : random_(seed) {}

    /// One round: true if it counts.
    bool round(kept_stream& on, const phase& how) {
        const std::uint64_t before = on.model.appended();
        const bool free_running = how.name == free_running_phase.name;
        const unsigned plan = free_running ? 1'000'000 : planned;
        bool killed = false;
        if (how.second_process) {
            const bool clears = how.point == kill_point::clear_emptied;
            const auto dies_first = clears ? dies_at(kill_point::clear_marked, 1 + random_() % 3)
                                           : dies_at(kill_point::before_commit, 2 + random_() % 20);
            killed = write(on, plan, clears ? "clear" : "", dies_first,
                           clears ? kill_point::clear_marked : kill_point::before_commit);
            // Not counted, unless the first one died as it should.
            if (!killed)
                return false;
            const unsigned left = plan - static_cast<unsigned>(on.model.appended() - before);
            killed = write(on, left, "", dies_at(how.point, 1), how.point);
        } else if (free_running) {
            killed = run_free(on, plan);
        } else if (how.name == reservation_phase.name) {
            killed =
                write(on, plan, how.focus,
                      {{"KILL_WRITER_RESERVATION", std::to_string(1 + random_() % how.visits_max)}}, kill_point::none);
        } else {
            std::uint64_t visit = 1 + random_() % how.visits_max;
            // The first openings and allocations come before anything is appended.
            if (std::string(how.focus) == "allocate" && !on.model.has_regions())
                visit += 3;
            if (std::string(how.focus) == "reopen" && how.point != kill_point::close_persisted)
                visit += 1;
            killed = write(on, plan, how.focus, dies_at(how.point, visit), how.point);
        }
        const std::uint64_t appended = on.model.appended() - before;
        return killed && appended > 0 && appended < plan;
    }

    /// A fresh process: what is there, is it right, and does it go on? It closes in order, or is killed in its turn, so
    /// that persisted offsets stay behind for many openings.
    void look(kept_stream& at) {
        const bool close = random_() % 4 == 0;
        auto words = at.words("look");
        words.emplace_back(close ? "close" : "die");
        killed_program program(words);
        unsigned looks = 0;
        bool looking = false;
        while (const auto told = program.next()) {
            if (told->kind == report_kind::look_begins)
                looking = true;
            if (looking)
                at.model.take_look(*told, looks == 1);
            else
                at.model.take(*told);
            if (told->kind == report_kind::look_ends) {
                looking = false;
                ++looks;
            }
        }
        const auto end = program.wait();
        at.model.writer_died(true, true);
        REQUIRE(looks == 2);
        if (close)
            REQUIRE((!end.signalled && end.code == 0));
        else
            REQUIRE((end.signalled && end.code == SIGKILL));
    }

private:
    /// True if it was killed (it may also come to its end).
    bool write(kept_stream& on, unsigned count, const std::string& focus, const killed_program::environment& with,
               kill_point point) {
        auto words = on.words("write");
        words.push_back(std::to_string(count));
        words.push_back(focus);
        killed_program program(words, with);
        while (const auto told = program.next())
            on.model.take(*told);
        const auto end = program.wait();
        REQUIRE((end.signalled ? end.code == SIGKILL : end.code == 0));
        on.model.writer_died(true, point >= kill_point::open_epoch_stored);
        return end.signalled;
    }

    bool run_free(kept_stream& on, unsigned count) {
        auto words = on.words("write");
        words.push_back(std::to_string(count));
        words.push_back(random_() % 2 == 0 ? "reopen" : "");
        killed_program program(words);
        const std::uint64_t wanted = random_() % 400;
        for (std::uint64_t taken = 0; taken < wanted; ++taken)
            on.model.take(program.next().value());
        for (std::uint64_t turns = random_() % 50'000; turns > 0; --turns)
            __asm__ volatile("");
        program.kill();
        while (const auto told = program.next())
            on.model.take(*told);
        const auto end = program.wait();
        on.model.writer_died(false, false);
        return end.signalled && end.code == SIGKILL;
    }

    std::mt19937_64 random_;
};

TEST_CASE("a writer killed anywhere loses nothing that it reported and leaves nothing half-written") {
    const std::uint64_t seed = seed_from_environment();
    fmt::print("seed {} (PMEMSTREAM_SEED sets it)\n", seed);
    CAPTURE(seed);
    killer kill(seed);
    // These two live through all the rounds; the others through a few.
    kept_stream small_blocks(seed, 2 << 20, 64);
    kept_stream pages(seed + 1, 4 << 20, 4096);
    std::optional<kept_stream> fresh;

    unsigned counted_in_all = 0, rounds_in_all = 0;
    std::uint64_t fresh_unreported = 0, fresh_appended = 0, n = 0;
    for (const auto& how : phases) {
        const unsigned wanted = how.name == free_running_phase.name ? scaled(60) : scaled(21);
        unsigned counted = 0, rounds = 0;
        CAPTURE(std::string(how.name));
        for (; counted < wanted; ++rounds, ++n) {
            REQUIRE_MESSAGE(rounds < 6 * wanted + 20, "too few rounds count");
            CAPTURE(rounds);
            const bool on_fresh = how.fresh_only || n % 4 == 3;
            if (on_fresh && (how.fresh_only || !fresh || n % 16 == 3)) {
                if (fresh) {
                    fresh_unreported += fresh->model.unreported_steps();
                    fresh_appended += fresh->model.appended();
                }
                fresh.emplace(seed + 2 + n, n % 32 == 3 ? 1 << 20 : 2 << 20, n % 8 == 3 ? 64 : 4096);
            }
            kept_stream& on = on_fresh ? *fresh : n % 4 == 1 ? pages : small_blocks;
            counted += kill.round(on, how) ? 1 : 0;
            kill.look(on);
        }
        fmt::print("{:>26}: {:3} kills counted of {:3} rounds\n", how.name, counted, rounds);
        CHECK(counted >= scaled(20));
        counted_in_all += counted;
        rounds_in_all += rounds;
    }
    for (const auto* kept : {&small_blocks, &pages})
        fmt::print(
            "a stream that lived through all of it: {} openings, {} entries appended and {} there, {} steps found "
            "whole that were not reported\n",
            kept->model.epoch(), kept->model.appended(), kept->model.entries(), kept->model.unreported_steps());
    fmt::print("fresh streams: {} entries appended, {} steps found whole that were not reported\n",
               fresh_appended + fresh->model.appended(), fresh_unreported + fresh->model.unreported_steps());
    fmt::print("{} kills counted of {} rounds\n", counted_in_all, rounds_in_all);
    CHECK(counted_in_all >= scaled(500));
    // Epochs are kept in eight bits of every entry: restarts beyond 64 and 256 must not matter.
    CHECK(small_blocks.model.epoch() > scaled(256));
    CHECK(small_blocks.model.unreported_steps() > 0);
}

}  // namespace
