#include "src/reader/coalescing.hpp"
#include "tests/support/small_stream.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

using namespace std::chrono_literals;
using namespace pmemstream;
using namespace pmemstream::test;
using core::coalescing;

namespace {

constexpr std::uint64_t much = coalescing::bytes_worth_it;
constexpr std::uint64_t little = much - 1;

/// So many waits whose look found an entry, and others behind it.
void find(coalescing& pace, unsigned looks, std::uint64_t bytes = much) {
    for (unsigned i = 0; i < looks; ++i)
        pace.looked(true, bytes);
}

coalescing pace_of(std::chrono::nanoseconds longest) {
    return coalescing({.coalesce = longest});
}

TEST_CASE("pauses begin after several looks that found something, and double up to the longest") {
    auto pace = pace_of(1600ns);
    find(pace, coalescing::looks_at_first - 1);
    CHECK(pace.next() == 0ns);
    for (const auto expected : {200ns, 400ns, 800ns, 1600ns, 1600ns}) {
        find(pace, 1);
        CHECK(pace.next() == expected);
    }
}

TEST_CASE("a look that finds nothing ends them") {
    auto pace = pace_of(1600ns);
    find(pace, 20);
    CHECK(pace.next() == 1600ns);
    pace.looked(false, 0);
    CHECK(pace.next() == 0ns);
    find(pace, coalescing::looks_at_first - 1);
    CHECK(pace.next() == 0ns);
}

TEST_CASE("where the longest bring little they end, and are tried again much later") {
    auto pace = pace_of(1600ns);
    find(pace, coalescing::looks_at_first + 3, little);
    find(pace, coalescing::in_vain_max - 1, little);
    CHECK(pace.next() == 1600ns);
    find(pace, 1, little);
    CHECK(pace.next() == 0ns);
    find(pace, coalescing::looks_in_vain - 1, little);
    CHECK(pace.next() == 0ns);
    find(pace, 1, little);
    CHECK(pace.next() == 200ns);
    // Not where one in between brings much, and soon again where the writer has nothing for a while.
    find(pace, 3, little);
    for (unsigned i = 0; i < 100; ++i)
        find(pace, 1, i % coalescing::in_vain_max == 0 ? much : little);
    CHECK(pace.next() == 1600ns);
    pace.looked(false, 0);
    find(pace, coalescing::looks_at_first);
    CHECK(pace.next() == 200ns);
}

TEST_CASE("the longest pause: none, a nanosecond, and never more than a millisecond") {
    for (const auto none : {0ns, -5ns}) {
        auto pace = pace_of(none);
        find(pace, 100);
        CHECK(pace.next() == 0ns);
    }
    auto shortest = pace_of(1ns);
    find(shortest, 100);
    CHECK(shortest.next() == 1ns);
    auto long_ones = pace_of(1h);
    find(long_ones, 100);
    CHECK(long_ones.next() == coalescing::longest_max);
    coalescing sleeps_at_once({.spin = 0ns, .coalesce = 1600ns});
    find(sleeps_at_once, 100);
    CHECK(sleeps_at_once.next() == 0ns);
}

TEST_CASE("a pause lasts as long as it says, and says no more than the timeout") {
    auto pace = pace_of(1h);
    find(pace, 100);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(pace.pause(1h) == coalescing::longest_max);
    CHECK(std::chrono::steady_clock::now() - begin >= coalescing::longest_max);
    CHECK(pace.pause(100ns) == 100ns);
    CHECK(pace.pause(0ns) == 0ns);
    CHECK(pace.pause(-1ns) == 0ns);
}

/// Counts the pauses of this process's readers.
class counted_pauses {
public:
    counted_pauses() {
        count_ = 0;
        base::stepping_in = [](base::kill_point here) { count_ += here == base::kill_point::reader_pauses ? 1 : 0; };
    }
    ~counted_pauses() { base::stepping_in = nullptr; }
    counted_pauses(const counted_pauses&) = delete;
    counted_pauses& operator=(const counted_pauses&) = delete;
    [[nodiscard]] unsigned count() const noexcept { return count_; }

private:
    static inline unsigned count_ = 0;
};

struct busy_stream {
    small_stream stream{4 << 20};
    std::unique_ptr<writer> to = stream.write();
    reader from = stream.read();
    std::vector<region> regions;
    unsigned appended = 0;

    explicit busy_stream(unsigned regions_wanted) {
        for (unsigned i = 0; i < regions_wanted; ++i)
            regions.push_back(must(to->allocate(200'000)));
    }
    void append(unsigned entries, std::size_t payload_bytes = 64) {
        for (unsigned i = 0; i < entries; ++i)
            must(to->append(regions[appended++ % regions.size()], std::vector<std::byte>(payload_bytes)));
    }
    template <class Cursor>
    static void drain(Cursor& at, unsigned entries, std::chrono::nanoseconds timeout = wait_for_ever) {
        for (unsigned i = 0; i < entries; ++i)
            REQUIRE(must(at.wait(timeout)));
    }
    /// As a writer at full speed would have it: always more, whenever the cursor looks.
    template <class Cursor>
    void follow(Cursor& at, std::chrono::nanoseconds timeout = wait_for_ever) {
        for (unsigned burst = 0; burst < 20; ++burst) {
            append(20);
            drain(at, 20, timeout);
        }
    }
};

TEST_CASE("a cursor that finds more at every look pauses before the later ones, once each") {
    busy_stream s(1);
    const counted_pauses pauses;
    auto at = must(s.from.follow(s.regions[0]));
    s.follow(at);
    CHECK(pauses.count() == 20 - coalescing::looks_at_first);
}

TEST_CASE("so does a merged cursor") {
    busy_stream s(4);
    const counted_pauses pauses;
    auto at = must(s.from.follow_all());
    s.follow(at);
    CHECK(pauses.count() == 20 - coalescing::looks_at_first);
}

TEST_CASE("nobody pauses who was told not to, sleeps at once or has no time") {
    busy_stream s(1);
    const counted_pauses pauses;
    for (const cursor_options& how : {cursor_options{.coalesce = 0ns}, cursor_options{.spin = 0ns}}) {
        auto at = must(s.from.follow(s.regions[0], how));
        busy_stream::drain(at, s.appended);
        s.follow(at);
    }
    auto polls = must(s.from.follow(s.regions[0], {.start = from_newest{}}));
    s.follow(polls, 0ns);
    CHECK(pauses.count() == 0);
}

TEST_CASE("nobody pauses over entries that are known to be there, however they are read") {
    for (const unsigned regions : {1U, 16U})
        for (const std::size_t payload_bytes : {8, 64, 300})
            for (const bool check_crc : {false, true}) {
                CAPTURE(regions);
                CAPTURE(payload_bytes);
                CAPTURE(check_crc);
                busy_stream s(regions);
                s.append(400, payload_bytes);
                const counted_pauses pauses;
                if (regions == 1) {
                    auto at = must(s.from.follow(s.regions[0], {.check_crc = check_crc}));
                    busy_stream::drain(at, 400);
                }
                auto merged = must(s.from.follow_all({.check_crc = check_crc}));
                busy_stream::drain(merged, 400);
                CHECK(pauses.count() == 0);
            }
}

}  // namespace
