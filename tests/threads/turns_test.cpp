// Whose turn it is to flush: real threads that really sleep. Where a step that D10 and D11 of docs/ordering.md name is left
// out, one of them must sleep for ever: what cannot fail proves nothing.
#include "src/durability/turns.hpp"
#include "src/base/mutant.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/test_numbers.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace pmemstream;
using namespace pmemstream::test;
using base::mutant;
using durability::turns;
using namespace std::chrono_literals;

namespace {

constexpr turns::patience for_long{1min, 1min};

/// Whether the thread that made this sleeps in a turn: in futex(2) at a word of it, as the kernel says. That it sleeps
/// somewhere would not do: a sanitizer's runtime has locks of its own.
class asleep {
public:
    explicit asleep(const turns& at) noexcept : at_(reinterpret_cast<std::uintptr_t>(&at)) {}

    [[nodiscard]] bool now() const {
        // "running", or the call's number and its arguments: proc(5).
        std::ifstream file("/proc/self/task/" + std::to_string(id_) + "/syscall");
        long call = -1;
        std::uintptr_t word = 0;
        file >> call >> std::hex >> word;
        return file && call == SYS_futex && word - at_ < sizeof(turns);
    }

private:
    std::uintptr_t at_;
    long id_ = ::syscall(SYS_gettid);
};

/// A thread that waits until `upto` is served; it takes no turn that it is offered, but ends it at once.
class sleeper {
public:
    sleeper(turns& from, const std::uint64_t& served, std::uint64_t upto, std::chrono::nanoseconds limit = 1min)
        : thread_([this, &from, &served, upto, limit] {
              self_.emplace(from);
              there_ = true;
              const auto until = std::chrono::steady_clock::now() + limit;
              while (!overslept_ && __atomic_load_n(&served, __ATOMIC_ACQUIRE) < upto) {
                  if (from.begin_or_sleep(upto, {limit, limit})) {
                      ++turns_taken;
                      from.end();
                  }
                  overslept_ = std::chrono::steady_clock::now() >= until;
              }
              from.leave();
              done_ = true;
          }) {}
    ~sleeper() { join(); }
    sleeper(const sleeper&) = delete;
    sleeper& operator=(const sleeper&) = delete;

    [[nodiscard]] bool sleeps() const { return there_ && !done_ && self_->now(); }
    std::atomic<unsigned> turns_taken{0};

    [[nodiscard]] bool overslept() {
        join();
        return overslept_;
    }
    void join() {
        if (thread_.joinable())
            thread_.join();
    }

private:
    std::optional<asleep> self_;
    std::atomic<bool> there_{false};
    std::atomic<bool> done_{false};
    std::atomic<bool> overslept_{false};
    std::thread thread_;
};

/// Whoever is not woken sleeps so long; only where a step is left out.
std::chrono::nanoseconds limit_now() {
    return base::active_mutant == mutant::none ? std::chrono::nanoseconds(1min) : 100ms;
}

struct scene {
    std::uint64_t served = 0;
    turns turn{served};
    void serve(std::uint64_t upto) { __atomic_store_n(&served, upto, __ATOMIC_RELEASE); }
};

/// A turn at whose end one slept, who was served by it, and does not come back.
void have_one_sleep_for_a_turn(scene& s) {
    REQUIRE(s.turn.try_begin());
    s.turn.will_serve(1);
    sleeper one(s.turn, s.served, 1);
    REQUIRE(eventually([&] { return one.sleeps(); }));
    s.serve(1);
    s.turn.end();
}

bool sleeper_of_this_turn_oversleeps() {
    scene s;
    REQUIRE(s.turn.try_begin());
    s.turn.will_serve(1);
    sleeper one(s.turn, s.served, 1, limit_now());
    REQUIRE(eventually([&] { return one.sleeps(); }));
    s.serve(1);
    s.turn.end();
    return one.overslept();
}

/// Ends the turn, and does `action` between its two steps.
void end_with(scene& s, std::function<void()> action) {
    static std::function<void()> once;
    static std::atomic<bool> armed;
    once = std::move(action);
    armed = true;
    base::stepping_in = [](base::kill_point here) {
        if (here == base::kill_point::turn_ends && armed.exchange(false))
            once();
    };
    s.turn.end();
    REQUIRE(!armed);
}

/// Where the end of a turn stands between its two steps, a thread comes to wait. If it still sees the turn taken it falls
/// asleep, and the end has looked for sleepers already.
bool sleeper_that_comes_at_the_end_oversleeps() {
    scene s;
    REQUIRE(s.turn.try_begin());
    s.turn.will_serve(0);
    std::unique_ptr<sleeper> one;
    end_with(s, [&] {
        one = std::make_unique<sleeper>(s.turn, s.served, 1, limit_now());
        // Else it takes one turn after the other until it is served.
        if (base::active_mutant != mutant::none)
            REQUIRE(eventually([&] { return one->sleeps(); }));
    });
    if (base::active_mutant == mutant::none)
        s.serve(1);
    const bool overslept = one->overslept();
    base::stepping_in = nullptr;
    return overslept;
}

/// Two sleep for the next turn and are served before anybody takes it: the one that is woken wakes the other.
bool second_sleeper_oversleeps() {
    scene s;
    REQUIRE(s.turn.try_begin());
    s.turn.will_serve(0);
    sleeper one(s.turn, s.served, 1, limit_now());
    sleeper two(s.turn, s.served, 1, limit_now());
    REQUIRE(eventually([&] { return one.sleeps() && two.sleeps(); }));
    s.serve(1);
    s.turn.end();
    const bool first = one.overslept();
    const bool second = two.overslept();
    return first || second;
}

}  // namespace

TEST_CASE("who sleeps when a turn ends is woken, at whatever moment it fell asleep") {
    CHECK(!sleeper_of_this_turn_oversleeps());
    CHECK(!sleeper_that_comes_at_the_end_oversleeps());
    CHECK(!second_sleeper_oversleeps());
}

TEST_CASE("a step that is left out lets one sleep for ever") {
    const std::vector<std::pair<mutant, bool (*)()>> cases{
        {mutant::sleeper_not_counted, sleeper_of_this_turn_oversleeps},
        {mutant::sleepers_before_word, sleeper_that_comes_at_the_end_oversleeps},
        {mutant::turn_not_passed_on, second_sleeper_oversleeps},
    };
    for (const auto& [which, play] : cases) {
        CAPTURE(static_cast<int>(which));
        base::active_mutant = which;
        const bool overslept = play();
        base::active_mutant = mutant::none;
        CHECK(overslept);
    }
    CHECK(cases.size() == static_cast<std::size_t>(mutant::clean_pages_believed) -
                              static_cast<std::size_t>(mutant::sleeper_not_counted));
}

TEST_CASE("who comes before a turn says whom it serves is woken by its end, and by nobody else") {
    base::active_mutant = mutant::turn_not_passed_on;
    scene s;
    REQUIRE(s.turn.try_begin());
    sleeper one(s.turn, s.served, 1);
    sleeper two(s.turn, s.served, 1);
    REQUIRE(eventually([&] { return one.sleeps() && two.sleeps(); }));
    s.turn.will_serve(1);
    s.serve(1);
    s.turn.end();
    CHECK(!one.overslept());
    CHECK(!two.overslept());
    base::active_mutant = mutant::none;
}

TEST_CASE("who gathers goes on when it is woken by a turn that ended before") {
    scene s;
    REQUIRE(s.turn.try_begin());
    s.turn.will_serve(2);
    sleeper one(s.turn, s.served, 2);
    REQUIRE(eventually([&] { return one.sleeps(); }));
    s.serve(2);
    std::unique_ptr<sleeper> gathers;
    end_with(s, [&] {
        gathers = std::make_unique<sleeper>(s.turn, s.served, 3);
        REQUIRE(eventually([&] { return gathers->sleeps(); }));
    });
    base::stepping_in = nullptr;
    CHECK(eventually([&] { return gathers->sleeps(); }));
    CHECK(gathers->turns_taken == 0);
    CHECK(s.turn.begin_or_sleep(3, for_long));
    s.serve(3);
    s.turn.end();
    CHECK(!gathers->overslept());
}

TEST_CASE("the last thread that comes back takes the turn for all") {
    constexpr unsigned others = 5;
    const std::uint64_t rounds = scaled(200);
    scene s;
    std::uint64_t committed = 0;  // atomic
    std::atomic<std::uint64_t> turns_taken{1};
    std::atomic<unsigned> there{0};
    std::atomic<bool> given_up{false};
    std::vector<std::optional<asleep>> ids(others + 1);
    const auto all_others_sleep = [&] {
        return there == others + 1 &&
               std::count_if(ids.begin(), ids.end(), [](const auto& id) { return id->now(); }) == others;
    };
    const auto append_and_wait = [&] {
        const std::uint64_t mine = __atomic_add_fetch(&committed, 1, __ATOMIC_ACQ_REL);
        bool slept = false;
        while (!given_up && __atomic_load_n(&s.served, __ATOMIC_ACQUIRE) < mine) {
            slept = !s.turn.begin_or_sleep(mine, for_long);
            if (slept)
                continue;
            // A flush that takes long.
            if (!eventually(all_others_sleep))
                given_up = true;
            ++turns_taken;
            const std::uint64_t upto = __atomic_load_n(&committed, __ATOMIC_ACQUIRE);
            s.turn.will_serve(upto);
            s.serve(upto);
            s.turn.end();
        }
        if (slept)
            s.turn.leave();
    };
    // The first turn is this thread's, and the others sleep for it.
    REQUIRE(s.turn.try_begin());
    s.turn.will_serve(others);
    std::vector<std::thread> team;
    ids[others].emplace(s.turn);
    ++there;
    for (unsigned t = 0; t < others; ++t)
        team.emplace_back([&, t] {
            ids[t].emplace(s.turn);
            ++there;
            for (std::uint64_t round = 0; round < rounds; ++round)
                append_and_wait();
        });
    REQUIRE(eventually(all_others_sleep));
    s.serve(others);
    s.turn.end();
    for (std::uint64_t round = 1; round < rounds; ++round)
        append_and_wait();
    for (auto& t : team)
        t.join();
    CHECK(!given_up);
    CHECK(turns_taken == rounds);
}

TEST_CASE("where the others do not come back, a thread takes the turn alone, and does not wait for them each time") {
    scene s;
    have_one_sleep_for_a_turn(s);
    // One slept: so one is expected, and does not come. The patience is over at once.
    CHECK(s.turn.begin_or_sleep(2, {1min, 0ns}));
    s.turn.end();
    // Nobody slept now: no patience is asked for.
    CHECK(s.turn.begin_or_sleep(3, for_long));
    s.turn.end();
}

TEST_CASE("who gathers is not overtaken for ever by turns that do not serve it") {
    scene s;
    have_one_sleep_for_a_turn(s);
    // Its patience is longer than this test's.
    sleeper gathers(s.turn, s.served, 2, 2min);
    REQUIRE(eventually([&] { return gathers.sleeps(); }));
    s.turn.begin();
    s.turn.end();
    CHECK(eventually([&] { return gathers.turns_taken > 0; }));
    s.serve(2);
    s.turn.begin();
    s.turn.end();
    CHECK(!gathers.overslept());
}

TEST_CASE("a turn can be taken over from who gathers, who then gets it back") {
    scene s;
    have_one_sleep_for_a_turn(s);
    sleeper gathers(s.turn, s.served, 2);
    REQUIRE(eventually([&] { return gathers.sleeps(); }));
    s.turn.begin();
    s.serve(2);
    s.turn.end();
    CHECK(!gathers.overslept());
}
