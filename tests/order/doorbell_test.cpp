// The labels D1 to D9 of docs/ordering.md in the library itself, each at its worst moment: where a sleeper, or the writer,
// stands between the two steps whose order the label fixes, the other acts. Whoever sleeps must be woken for what comes. Then
// the two steps change places (src/base/mutant.hpp), and the sleeper must be lost.
//
// Nobody really sleeps: what the futex calls would do is played here, so that nothing waits, and a lost sleeper is known for
// one at once.
#include "ipc/futex.hpp"
#include "ipc/reader_control.hpp"
#include "src/base/mutant.hpp"
#include "src/format/layout.hpp"
#include "src/stream/stream_file.hpp"
#include "src/writer/housekeeper.hpp"
#include "tests/order/step_in.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace pmemstream;
using namespace pmemstream::test;
using base::kill_point;
using base::mutant;

namespace {

/// A word of a mapped file, whatever address it has in whose mapping.
std::pair<unsigned long, std::uintptr_t> place_of(const void* word) {
    const auto at = reinterpret_cast<std::uintptr_t>(word);
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin = 0, end = 0, offset = 0, inode = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx %*s %lu", &begin, &end, &offset, &inode) == 4 && at >= begin &&
            at < end)
            return {inode, at - begin + offset};
    }
    return {0, at};
}

/// One sleeper is all that there is.
class played_kernel : public ipc::futex_stand_in {
public:
    played_kernel() { ipc::standing_in = this; }
    ~played_kernel() override { ipc::standing_in = nullptr; }
    played_kernel(const played_kernel&) = delete;
    played_kernel& operator=(const played_kernel&) = delete;

    [[nodiscard]] ipc::futex_outcome wait(const std::uint32_t& word, std::uint32_t expected) noexcept override {
        if (base::load_acquire(word) != expected)
            return ipc::futex_outcome::changed;
        asleep_on_ = place_of(&word);
        return ipc::futex_outcome::woken;
    }
    int wake_all(std::uint32_t& word) noexcept override {
        if (!asleep_on_ || *asleep_on_ != place_of(&word))
            return 0;
        asleep_on_.reset();
        return 1;
    }
    [[nodiscard]] bool anybody_sleeps() const noexcept { return asleep_on_.has_value(); }
    void kill_sleeper() noexcept { asleep_on_.reset(); }

private:
    std::optional<std::pair<unsigned long, std::uintptr_t>> asleep_on_;
};

/// A writer with two regions and a control file, beside which no thread runs.
struct scene {
    explicit scene(horizon h) : waits_for(h) { must(w->control_status()); }

    bool alone = core::without_threads = true;
    small_stream stream;
    std::unique_ptr<writer> w = must(writer::open(stream.file, {}));
    region a = must(w->allocate(20'000, "a"));
    region b = must(w->allocate(20'000, "b"));
    const horizon waits_for;
    played_kernel kernel;

    /// Commits an entry, or has it persisted: whatever the sleepers of this scene wait for.
    void append(region to) const {
        static constexpr std::array<std::byte, 400> payload{};
        (void)must(w->append(to, payload));
        if (waits_for == horizon::persisted)
            must(w->persist());
    }
    void renew_control() const {
        std::filesystem::remove(stream.file.string() + ".ctl");
        for (const auto* const keeper : core::threadless)
            keeper->tick(1);
    }
};

/// Waits for the next entry of a region, as a cursor does.
class follower {
public:
    /// `door`: the region's own, or the one of the stream, which regions share that have none.
    enum class door : std::uint8_t { own, shared };
    follower(scene& s, region where, door behind = door::own)
        : scene_(s),
          file_(must(core::stream_file::open(s.stream.file, medium::access::read, false))),
          control_(std::make_shared<ipc::reader_control>(
              ipc::control_place::beside(file_->path(), file_->device(), file_->inode()), file_->header(),
              file_->owner(), false, "follower")) {
        const auto& slot = *reinterpret_cast<const format::region_slot*>(
            file_->medium().data() + format::first_segment_offset + sizeof(format::segment_header) +
            where.index() * sizeof(format::region_slot));
        const auto& stream = file_->header().wake;
        const bool persisted = s.waits_for == horizon::persisted;
        if (behind == door::own) {
            door_ = where.index() + 1;
            wake_ = persisted ? &slot.persist.wake : &slot.commit.wake;
        } else {
            wake_ = persisted ? &stream.persisted : &stream.committed;
        }
        words_.progress = persisted ? &slot.persist.persisted : &slot.commit.commit_offset;
        words_.state = &slot.cold.state;
        words_.state_seen = base::load_acquire(slot.cold.state);
        wait_for_another();
        REQUIRE(control_->state() == control_state::attached);
    }

    /// There is nothing that it has not seen.
    void wait_for_another() noexcept {
        words_.progress_seen = base::load_acquire(*words_.progress);
        found_ = false;
    }
    /// Until it has found an entry or sleeps; whoever sleeps goes on sleeping.
    void go_on() noexcept {
        while (!found_ && !scene_.kernel.anybody_sleeps()) {
            found_ = words_.moved();
            if (!found_)
                control_->sleep(*wake_, door_, scene_.waits_for, words_, std::chrono::hours(1), polls_);
        }
    }
    /// There is an entry: nothing to complain of when it is found.
    [[nodiscard]] bool is_lost() noexcept {
        go_on();
        return !found_;
    }

private:
    scene& scene_;
    std::shared_ptr<core::stream_file> file_;
    std::shared_ptr<ipc::reader_control> control_;
    const std::uint32_t* wake_ = nullptr;
    std::uint32_t door_ = 0;
    ipc::watched_words words_;
    unsigned polls_ = 0;
    bool found_ = false;
};

/// Whether the sleeper is lost where somebody appends just when it comes by a point on its way to sleep.
bool loses_entry_that_comes_at(kill_point point, horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.a);
    const step_in coming(point, [&] { s.append(s.a); });
    f.go_on();
    REQUIRE(coming.happened());
    return f.is_lost();
}

bool loses_flag_to_a_ring_for_another_region(horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.b, follower::door::shared);
    const step_in other(kill_point::flag_set, [&] { s.append(s.a); });
    f.go_on();
    REQUIRE(other.happened());
    s.append(s.b);
    return f.is_lost();
}

/// Where the writer stands before the store that the sleeper waits for.
bool loses_what_is_under_way_at(kill_point point, horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.a);
    const step_in moving(point, [&] { f.go_on(); });
    s.append(s.a);
    REQUIRE(moving.happened());
    return f.is_lost();
}

bool loses_flag_that_is_set_during_a_ring(horizon seen_at) {
    scene s(seen_at);
    follower killed(s, s.a);
    killed.go_on();
    s.kernel.kill_sleeper();
    follower f(s, s.a);
    const step_in ringing(kill_point::word_moves, [&] {
        f.wait_for_another();
        f.go_on();
    });
    s.append(s.a);
    REQUIRE(ringing.happened());
    f.go_on();
    s.append(s.a);
    return f.is_lost();
}

bool sleeps_through_a_wake(horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.a);
    std::binary_semaphore has_looked(0), may_sleep(0);
    const step_in looked(kill_point::falls_asleep, [&] {
        has_looked.release();
        may_sleep.acquire();
    });
    std::thread sleeper([&f] { f.go_on(); });
    const step_in waking(kill_point::sleepers_wake, [&] {
        may_sleep.release();
        sleeper.join();
    });
    has_looked.acquire();
    s.append(s.a);
    const bool rung = waking.happened();
    if (!rung) {
        may_sleep.release();
        sleeper.join();
    }
    REQUIRE(rung);
    return f.is_lost();
}

bool sleeps_behind_a_file_that_is_replaced_before(horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.a);
    const step_in taken(kill_point::control_taken, [&] { s.renew_control(); });
    f.go_on();
    REQUIRE(taken.happened());
    s.append(s.a);
    return f.is_lost();
}

bool is_missed_while_the_file_is_replaced(horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.a);
    const step_in renewing(kill_point::control_renewed, [&] {
        f.go_on();
        s.append(s.a);
    });
    s.renew_control();
    REQUIRE(renewing.happened());
    return f.is_lost();
}

bool goes_back_to_the_file_that_is_replaced(horizon seen_at) {
    scene s(seen_at);
    follower f(s, s.a);
    f.go_on();
    REQUIRE(s.kernel.anybody_sleeps());
    const step_in named(kill_point::control_named, [&] { f.go_on(); });
    s.renew_control();
    REQUIRE(named.happened());
    f.go_on();
    s.append(s.a);
    return f.is_lost();
}

struct label {
    std::string name;
    mutant swapped;
    std::function<bool(horizon)> loses;
    std::vector<horizon> of{horizon::committed, horizon::persisted};
};

const std::vector<label> labels{
    {"D1", mutant::word_after_flag, loses_flag_to_a_ring_for_another_region},
    {"D2", mutant::flag_after_look, [](horizon h) { return loses_entry_that_comes_at(kill_point::falls_asleep, h); }},
    {"D3", mutant::no_last_look, [](horizon h) { return loses_entry_that_comes_at(kill_point::word_read, h); }},
    {"D4",
     mutant::flags_before_commit,
     [](horizon h) { return loses_what_is_under_way_at(kill_point::before_commit, h); },
     {horizon::committed}},
    {"D4",
     mutant::flags_before_persist,
     [](horizon h) { return loses_what_is_under_way_at(kill_point::flush_synced, h); },
     {horizon::persisted}},
    {"D5", mutant::word_before_flag, loses_flag_that_is_set_during_a_ring},
    {"D6", mutant::wake_before_word, sleeps_through_a_wake},
    {"D7", mutant::nonce_not_compared, sleeps_behind_a_file_that_is_replaced_before},
    {"D8", mutant::doors_last, is_missed_while_the_file_is_replaced},
    {"D9", mutant::ring_before_nonce, goes_back_to_the_file_that_is_replaced},
};

const char* to_string(horizon h) {
    return h == horizon::persisted ? "persisted" : "committed";
}

}  // namespace

TEST_CASE("whoever sleeps is woken for what comes, at whatever step it comes") {
    for (const auto& l : labels)
        for (const auto h : l.of) {
            CAPTURE(l.name);
            CAPTURE(to_string(h));
            CHECK_FALSE(l.loses(h));
        }
}

TEST_CASE("two steps of the doorbell in the wrong order lose a sleeper") {
    std::set<mutant> swapped;
    for (const auto& l : labels)
        for (const auto h : l.of) {
            CAPTURE(l.name);
            CAPTURE(to_string(h));
            base::active_mutant = l.swapped;
            const bool lost = l.loses(h);
            base::active_mutant = mutant::none;
            CHECK(lost);
            swapped.insert(l.swapped);
        }
    // Every mutant for which sleepers are responsible has its scene.
    CHECK(swapped.size() ==
          static_cast<std::size_t>(mutant::sleeper_not_counted) - static_cast<std::size_t>(mutant::word_after_flag));
}
