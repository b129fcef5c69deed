// One writer and its readers, each a process of its own. The readers sleep on the doorbell alone, for ever: a wake-up
// that gets lost hangs the test.
#include "tests/ipc/common.hpp"
#include "tests/support/system_call_filter.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <array>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr unsigned readers_max = 8;
constexpr unsigned regions_max = 4;

struct board {
    std::atomic<bool> begin{false};
    std::atomic<unsigned> ready{0};
    std::array<std::atomic<std::uint64_t>, readers_max> seen{};  // entries, by reader
    std::array<std::atomic<std::uint64_t>, regions_max> appended{};
    std::atomic<std::uint64_t> end_of_stream{~std::uint64_t{0}};  // how many there will be, once that is known
    std::array<std::atomic<std::uint64_t>, regions_max> end_of_region{};
    // Of the writer, when it is done.
    std::uint64_t total = 0;
    std::uint64_t times_all_slept = 0;
    std::uint64_t times_all_saw = 0;
    std::uint64_t rings = 0;
};

struct setting {
    unsigned readers = readers_max;
    unsigned regions = 1;
    bool merged = false;
    std::uint64_t entries = 0;
    unsigned batches_percent = 0;
    unsigned reservations_percent = 0;
    unsigned burst_max = 20;  // entries between two pauses
    unsigned regions_before = 0;
    bool without_membarrier = false;

    [[nodiscard]] std::uint64_t region_bytes() const { return entries * 280 / regions + (1 << 20); }
};

std::string region_name(unsigned number) {
    return "followed " + std::to_string(number);
}

/// Reader `self` of a region: entries come by number, each once.
void follow_one(const reader& from, const setting& how, board& b, std::uint64_t seed, unsigned self) {
    const unsigned number = self % how.regions;
    const entry_plan plan(seed + number);
    auto cursor = must(from.follow(must(from.find(region_name(number))), doorbell_only()));
    demand(cursor.registered(), "the cursor is registered");
    ++b.ready;
    std::uint64_t next = 0;
    sequence last = sequence::none;
    while (b.end_of_stream == ~std::uint64_t{0} || next < b.end_of_region[number]) {
        const auto got = must(cursor.wait(wait_for_ever));
        demand(got.has_value(), "a wait for ever ends with an entry");
        demand(plan.matches(got->payload(), next),
               "entry " + std::to_string(next) + " of its region comes next, whole");
        demand(got->sequence() > last, "sequences increase");
        demand(got->valid(), "the region lives");
        last = got->sequence();
        b.seen[self].store(++next);
    }
}

/// Reader `self` of the stream: no sequence is left out, and within each region entries come by number.
void follow_merged(const reader& from, const setting& how, board& b, std::uint64_t seed, unsigned self) {
    std::vector<entry_plan> plans;
    std::vector<region> handles;
    std::array<std::uint64_t, regions_max> next{};
    for (unsigned i = 0; i < how.regions; ++i) {
        plans.emplace_back(seed + i);
        handles.push_back(must(from.find(region_name(i))));
    }
    auto cursor = must(from.follow_all(doorbell_only()));
    demand(cursor.registered(), "the cursor is registered");
    ++b.ready;
    std::uint64_t all = 0;
    while (all < b.end_of_stream) {
        const auto got = must(cursor.wait(wait_for_ever));
        demand(got.has_value(), "a wait for ever ends with an entry");
        demand(to_uint(got->sequence()) == ++all, "the sequences of the stream come one by one");
        const auto where = std::find(handles.begin(), handles.end(), got->where());
        demand(where != handles.end(), "the entry is of a region there is");
        const auto number = static_cast<std::size_t>(where - handles.begin());
        demand(plans[number].matches(got->payload(), next[number]++), "the next entry of its region comes, whole");
        b.seen[self].store(all);
    }
}

/// The appending side: bursts of all kinds of appends, and between them what makes readers sleep and wake.
class feeder {
public:
    feeder(writer& to, std::vector<region> regions, const setting& how, board& b, std::uint64_t seed)
        : to_(to), regions_(std::move(regions)), how_(how), board_(b), random_(seed) {
        for (unsigned i = 0; i < how.regions; ++i)
            plans_.emplace_back(seed + i);
    }

    void run(const reader& observer) {
        while (total_ < how_.entries) {
            for (unsigned n = 1 + below(how_.burst_max); n > 0; --n)
                append_something();
            switch (below(20)) {
                case 0:
                    until_all_sleep(observer);
                    break;
                case 1:
                case 2:
                case 3:
                case 4:
                case 5:
                case 6:
                case 7:
                case 8:
                    until_all_have_seen();
                    break;
                case 9:
                case 10:
                    sched_yield();
                    break;
                default:
                    spin(below(2000));
                    break;
            }
        }
        // One more for each, whom the last entry finds on their way to sleep, or asleep.
        until_all_have_seen();
        for (unsigned i = 0; i < how_.regions; ++i)
            board_.end_of_region[i] = board_.appended[i] + 1;
        board_.end_of_stream = total_ + how_.regions;
        for (unsigned i = 0; i < how_.regions; ++i)
            append_to(i, 1);
        until_all_have_seen();
    }

    [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
    [[nodiscard]] unsigned times_all_slept() const noexcept { return all_slept_; }
    [[nodiscard]] unsigned times_all_saw() const noexcept { return all_saw_; }

private:
    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

    static void spin(unsigned times) {
        for (unsigned i = 0; i < times; ++i)
            std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    void append_something() {
        const unsigned number = below(how_.regions);
        const unsigned dice = below(100);
        if (dice < how_.batches_percent)
            append_batch(number);
        else if (dice < how_.batches_percent + how_.reservations_percent)
            reserve_some(number);
        else
            append_to(number, 1);
    }

    std::uint64_t claim_number(unsigned number) {
        ++total_;
        return board_.appended[number]++;
    }

    void append_to(unsigned number, unsigned times) {
        for (; times > 0; --times)
            (void)must(to_.append(regions_[number], buffers_[0].make(plans_[number], claim_number(number))));
    }

    void append_batch(unsigned number) {
        std::array<std::span<const std::byte>, 5> payloads;
        const unsigned count = 1 + below(5);
        for (unsigned i = 0; i < count; ++i)
            payloads[i] = buffers_[i].make(plans_[number], claim_number(number));
        (void)must(to_.append_batch(regions_[number], {payloads.data(), count}));
    }

    /// Some are published, in any order, and some given up.
    void reserve_some(unsigned number) {
        std::vector<std::pair<reservation, bool>> claims;
        for (unsigned n = 1 + below(4); n > 0; --n) {
            const bool keep = below(4) != 0;
            const std::uint64_t entry = keep ? claim_number(number) : 0;
            auto claim = must(to_.reserve(regions_[number], plans_[number].bytes(entry)));
            if (keep)
                plans_[number].fill(claim.payload(), entry);
            claims.emplace_back(std::move(claim), keep);
        }
        std::shuffle(claims.begin(), claims.end(), random_);
        for (auto& [claim, keep] : claims) {
            if (keep)
                (void)must(to_.publish(std::move(claim)));
            else
                must(to_.abandon(std::move(claim)));
        }
    }

    [[nodiscard]] bool have_all_seen() const {
        for (unsigned i = 0; i < how_.readers; ++i)
            if (board_.seen[i] < (how_.merged ? total_ : board_.appended[i % how_.regions].load()))
                return false;
        return true;
    }

    /// Then every reader is on its way to sleep: the next append races with each.
    void until_all_have_seen() {
        while (!have_all_seen())
            sched_yield();
        ++all_saw_;
        spin(below(1000));
    }

    void until_all_sleep(const reader& observer) {
        until_all_have_seen();
        while (asleep(observer) != how_.readers)
            sched_yield();
        ++all_slept_;
    }

    writer& to_;
    std::vector<region> regions_;
    const setting& how_;
    board& board_;
    std::mt19937_64 random_;
    std::vector<entry_plan> plans_;
    std::array<payload_buffer, 5> buffers_;
    std::uint64_t total_ = 0;
    unsigned all_slept_ = 0;
    unsigned all_saw_ = 0;
};

/// The writing process.
int write(const std::filesystem::path& path, const setting& how, board& b, std::uint64_t seed) {
    if (how.without_membarrier)
        forget_membarrier();
    const auto w = must(writer::open(path));
    for (unsigned i = 0; i < how.regions_before; ++i)
        (void)must(w->allocate(16));
    std::vector<region> regions;
    for (unsigned i = 0; i < how.regions; ++i)
        regions.push_back(must(w->allocate(how.region_bytes(), region_name(i))));
    const auto observer = must(reader::open(path));
    b.begin = true;
    demand_eventually([&] { return b.ready == how.readers; }, "the readers follow");
    feeder feed(*w, regions, how, b, seed);
    feed.run(observer);
    b.total = feed.total();
    b.times_all_slept = feed.times_all_slept();
    b.times_all_saw = feed.times_all_saw();
    b.rings = w->doorbell_rings();
    return 0;
}

void run(const setting& how) {
    const std::uint64_t seed = seed_from_environment();
    const temp_dir dir;
    const auto path = dir / "stream";
    create_options options;
    options.block_bytes = how.regions_before == 0 ? 4096 : 64;
    options.stream_bytes = (how.region_bytes() + (1 << 20)) * how.regions;
    must(create(path, options));

    const shared_memory<board> b;
    std::vector<child> processes;
    for (unsigned self = 0; self < how.readers; ++self)
        processes.emplace_back([&, self] {
            demand_eventually([&] { return b->begin.load(); }, "the regions are there");
            const auto from = must(reader::open(path));
            demand(from.control() == control_state::attached, "the doorbell can be slept on");
            (how.merged ? follow_merged : follow_one)(from, how, *b, seed, self);
            return 0;
        });
    processes.emplace_back([&] { return write(path, how, *b, seed); });

    // A wake-up that is lost keeps one of them for ever; one that ends badly keeps nobody waiting.
    for (bool all_over = false; !all_over; ::usleep(500)) {
        all_over = true;
        for (auto& p : processes) {
            const auto end = p.poll();
            REQUIRE((!end || (!end->signalled && end->code == 0)));
            all_over = all_over && end;
        }
    }
    std::uint64_t seen = 0;
    for (unsigned i = 0; i < how.readers; ++i)
        seen += b->seen[i];
    MESSAGE("seed " << seed << ": " << b->total << " entries, seen " << seen << " times by " << how.readers
                    << " readers; all had seen everything " << b->times_all_saw << " times, all slept "
                    << b->times_all_slept << " times, " << b->rings << " rings");
    CHECK(b->total >= how.entries);
    if (how.merged || how.regions == 1)
        CHECK(seen == b->total * how.readers);
    CHECK(b->times_all_slept >= how.entries / how.burst_max / 50);
    CHECK(b->rings > b->times_all_slept);
}

}  // namespace

TEST_CASE("eight processes that sleep on the doorbell alone see every entry of a region once and in order") {
    run({.entries = scaled(200'000), .burst_max = 50});
}

TEST_CASE("eight merged cursors that sleep on the doorbell alone see every entry of four regions in sequence order") {
    run({.regions = 4, .merged = true, .entries = scaled(60'000)});
}

TEST_CASE("eight processes that sleep on the doors of four regions see every entry of theirs") {
    run({.regions = 4, .entries = scaled(60'000)});
}

TEST_CASE("batches and reservations wake sleepers like appends") {
    SUBCASE("of a region") {
        run({.entries = scaled(60'000), .batches_percent = 40, .reservations_percent = 40});
    }
    SUBCASE("of the stream") {
        run({.regions = 3,
             .merged = true,
             .entries = scaled(40'000),
             .batches_percent = 40,
             .reservations_percent = 40});
    }
}

TEST_CASE("regions beyond the last door share the stream's") {
    run({.readers = 4, .regions = 2, .entries = scaled(20'000), .regions_before = 1100});
}

TEST_CASE("an append that meets a reader on its way to sleep wakes it") {
    // Two processes, and an append after each entry seen: with two processors the two run into each other all the time.
    SUBCASE("on a region's door") {
        run({.readers = 1, .entries = scaled(100'000), .burst_max = 1});
    }
    SUBCASE("on the stream's door") {
        run({.readers = 1, .merged = true, .entries = scaled(100'000), .burst_max = 1});
    }
}

TEST_CASE("a writer that cannot register for membarrier fences, and loses no wake-up either") {
    SUBCASE("with one reader") {
        run({.readers = 1, .entries = scaled(50'000), .burst_max = 1, .without_membarrier = true});
    }
    SUBCASE("with eight") {
        run({.entries = scaled(20'000), .without_membarrier = true});
    }
}
