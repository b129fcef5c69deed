// The labels V1 to V12, and P8, of docs/ordering.md, each at its worst moment: where one side stands between the two steps
// whose order the label fixes, the other side acts, in the same thread. The library must be right there. Then the two
// steps change places (src/base/mutant.hpp), and the same must go wrong: what cannot fail proves nothing.
#include "src/base/mutant.hpp"
#include "src/format/features.hpp"
#include "src/writer/housekeeper.hpp"
#include "tests/durability/watched_medium.hpp"
#include "tests/order/step_in.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/forced_cache_lines.hpp"
#include "tests/support/small_stream.hpp"

#include <pmemstream/detail/kill_point.hpp>
#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>
#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace pmemstream;
using namespace pmemstream::test;
using base::kill_point;
using base::mutant;

namespace {

/// Longer than what is appended inline: the same protocol, with room for the tests to step in.
std::vector<std::byte> payload_of(unsigned number) {
    return {400, static_cast<std::byte>(0x10 + number)};
}

/// A scene says what was wrong, or nothing.
using complaint = std::optional<std::string>;

template <class Got>
complaint not_nothing(const Got& got, const char* when) {
    if (!got)
        return std::string(when) + ": " + got.error().message();
    if (*got)
        return std::string(when) + ": an entry is shown";
    return {};
}

/// Exactly the entry with this number.
template <class Got>
complaint not_entry(const Got& got, unsigned number) {
    if (!got)
        return got.error().message();
    if (!*got)
        return "entry " + std::to_string(number) + " is passed over";
    const auto payload = payload_of(number);
    const auto seen = (*got)->payload();
    if (!std::equal(seen.begin(), seen.end(), payload.begin(), payload.end()))
        return "entry " + std::to_string(number) + " has other bytes";
    return {};
}

/// A small stream with its writer, beside which no thread runs.
struct scene {
    bool alone = core::without_threads = true;
    small_stream stream;
    std::unique_ptr<writer> w = stream.write();
    reader from = stream.read();
    region a = must(w->allocate(20'000, "a"));
    region b = must(w->allocate(20'000, "b"));

    void append(region to, unsigned number) const { (void)must(w->append(to, payload_of(number))); }
};

complaint half_an_entry(horizon seen_at) {
    const scene s;
    auto cursor = must(s.from.follow(s.a, {.horizon = seen_at}));
    complaint wrong;
    {
        const step_in while_copying(kill_point::copy, [&] { wrong = not_nothing(cursor.next(), "half copied"); });
        s.append(s.a, 1);
        REQUIRE(while_copying.happened());
    }
    if (wrong)
        return wrong;
    must(s.w->persist());
    return not_entry(cursor.next(), 1);
}

complaint entry_that_comes_while_a_cursor_looks() {
    const scene s;
    auto cursor = must(s.from.follow(s.a));
    const step_in looking(kill_point::cursor_looks, [&] { s.append(s.a, 1); });
    auto got = cursor.next();
    REQUIRE(looking.happened());
    if (got && !*got)
        got = cursor.next();
    return not_entry(got, 1);
}

complaint entry_that_is_committed_while_the_stream_does_not_say_so(horizon seen_at) {
    const scene s;
    auto merged = must(s.from.follow_all({.horizon = seen_at}));
    s.append(s.a, 1);
    if (seen_at == horizon::persisted)
        must(s.w->persist());
    if (auto wrong = not_entry(merged.next(), 1))
        return wrong;
    complaint wrong;
    const bool persisted = seen_at == horizon::persisted;
    const step_in between(persisted ? kill_point::between_persists : kill_point::before_commit,
                          [&] { wrong = not_nothing(merged.next(), "before the offset"); });
    s.append(s.b, 2);
    must(s.w->persist());
    REQUIRE(between.happened());
    return wrong ? wrong : not_entry(merged.next(), 2);
}

complaint entry_that_comes_when_a_merged_cursor_has_looked() {
    const scene s;
    auto merged = must(s.from.follow_all());
    s.append(s.a, 1);
    const step_in looked(kill_point::regions_read, [&] { s.append(s.b, 2); });
    if (auto wrong = not_entry(merged.next(), 1))
        return wrong;
    REQUIRE(looked.happened());
    return not_entry(merged.next(), 2);
}

complaint entry_of_a_region_that_is_about_to_end() {
    const scene s;
    s.append(s.a, 1);
    auto cursor = must(s.from.follow(s.a));
    const auto entry = must(cursor.next()).value();
    complaint wrong;
    const step_in ending(kill_point::free_ending, [&] {
        const auto payload = payload_of(1);
        const bool right = std::equal(payload.begin(), payload.end(), entry.payload().begin());
        if (entry.valid() && !right)
            wrong = "wrong bytes are called valid";
    });
    must(s.w->free(s.a));
    REQUIRE(ending.happened());
    CHECK_FALSE(entry.valid());
    return wrong;
}

/// Blocks of `was` become another region's, with other entries.
void reuse(const scene& s, region was) {
    const auto before = must(s.w->describe(was));
    must(s.w->free(was));
    const auto next = must(s.w->allocate(before.size_bytes, before.name));
    REQUIRE(must(s.w->describe(next)).begin == before.begin);
    for (unsigned number = 7; number < 12; ++number)
        s.append(next, number);
}

complaint payload_that_is_reused_while_it_is_copied() {
    const scene s;
    s.append(s.a, 1);
    auto cursor = must(s.from.follow(s.a));
    const auto entry = must(cursor.next()).value();
    const step_in copying(kill_point::payload_copied, [&] { reuse(s, s.a); });
    std::vector<std::byte> bytes;
    const auto got = entry.read_into(bytes);
    REQUIRE(copying.happened());
    if (!got)
        return got.error().code() == errc::region_gone ? complaint() : got.error().message();
    return bytes == payload_of(1) ? complaint() : "wrong bytes are called the entry's";
}

/// Of three entries the library itself reads the first, and the inlined part of a step those behind it.
template <class Cursor>
complaint header_that_is_reused(const scene& s, Cursor cursor, unsigned read_before) {
    for (unsigned number = 1; number <= read_before; ++number)
        if (auto wrong = not_entry(cursor.next(), number))
            return wrong;
    const step_in reading(kill_point::header_read, [&] { reuse(s, s.a); });
    const auto got = cursor.next();
    REQUIRE(reading.happened());
    if (got)
        return "an entry of a later region is shown";
    return got.error().code() == errc::region_gone ? complaint() : got.error().message();
}

complaint header_that_is_reused_while_a_cursor_reads_it(unsigned read_before) {
    const scene s;
    for (unsigned number = 1; number <= 3; ++number)
        s.append(s.a, number);
    return header_that_is_reused(s, must(s.from.follow(s.a)), read_before);
}

/// With it goes the head before it, which is about to be shown.
complaint header_that_is_reused_while_a_merged_cursor_reads_it() {
    const scene s;
    for (unsigned number = 1; number <= 3; ++number)
        s.append(s.a, number);
    return header_that_is_reused(s, must(s.from.follow_all()), 1);
}

complaint slot_that_is_reused_while_it_is_read() {
    const scene s;
    const step_in reading(kill_point::slot_read, [&] {
        must(s.w->free(s.a));
        (void)must(s.w->allocate(9'000, "later"));
    });
    const auto got = s.from.regions();
    REQUIRE(reading.happened());
    if (!got)
        return got.error().message();
    for (const auto& region : *got)
        if ((region.name == "later") != (region.size_bytes < 15'000))
            return "a region has the name of one and the size of another";
    return {};
}

/// What a processor may do: copies past the caches are seen when a fence says so, and not before.
class late_copies : public medium::observer {
public:
    late_copies() { medium::observing = this; }
    ~late_copies() override { medium::observing = nullptr; }
    bool copy(const medium::mapping& m, std::uint64_t offset, const void* from, std::size_t bytes) override {
        const auto* const begin = static_cast<const std::byte*>(from);
        pending_.emplace_back(m.data() + offset, std::vector<std::byte>(begin, begin + bytes));
        return true;
    }
    void drain(const medium::mapping&) override {
        for (const auto& [to, bytes] : std::exchange(pending_, {}))
            std::copy(bytes.begin(), bytes.end(), to);
    }

private:
    std::vector<std::pair<std::byte*, std::vector<std::byte>>> pending_;
};

complaint entry_whose_copy_is_seen_late() {
    const forced_cache_lines forced;
    late_copies medium;
    const scene s;
    const std::vector<std::byte> payload(17'000, std::byte{0x5a});
    auto cursor = must(s.from.follow(s.a));
    complaint wrong = "it is not shown";
    const step_in committed(kill_point::between_commits, [&] {
        const auto got = must(cursor.next());
        if (got)
            wrong = std::ranges::equal(got->payload(), payload) ? complaint() : "the entry has other bytes";
    });
    (void)must(s.w->append(s.a, payload, horizon::persisted));
    return wrong;
}

/// The writer is a newer program's; the reader does not know the feature that it raises.
complaint feature_that_is_raised_beside_a_cursor() {
    const small_stream stream;
    {
        const auto before = stream.write();
        (void)must(before->allocate(4096, "a"));
    }
    const auto from = stream.read();
    auto cursor = must(from.follow(must(from.find("a"))));
    (void)must(cursor.next());
    format::known_features = format::raised_features = {.compatible = 0, .read_compatible = 0, .incompatible = 1};
    const auto newer = stream.write();
    (void)must(newer->append(must(newer->find("a")), payload_of(1)));
    format::known_features = format::raised_features = {};
    const auto got = cursor.next();
    if (!got && got.error().code() == errc::unsupported_format)
        return std::nullopt;
    return got ? "an entry of a newer program is shown" : got.error().message();
}

struct label {
    std::string name;
    mutant swapped;
    std::function<complaint()> play;
};

const std::vector<label> labels{
    {"V1", mutant::offset_before_entry, [] { return half_an_entry(horizon::committed); }},
    {"V2", mutant::entry_before_offset, entry_that_comes_while_a_cursor_looks},
    {"V3", mutant::sequence_before_offset,
     [] { return entry_that_is_committed_while_the_stream_does_not_say_so(horizon::committed); }},
    {"V4", mutant::regions_before_sequence, entry_that_comes_when_a_merged_cursor_has_looked},
    {"V5", mutant::reuse_before_end, entry_of_a_region_that_is_about_to_end},
    {"V6", mutant::validity_before_payload, payload_that_is_reused_while_it_is_copied},
    {"V7", mutant::validity_before_header, [] { return header_that_is_reused_while_a_cursor_reads_it(0); }},
    {"V7, inlined", mutant::validity_before_header, [] { return header_that_is_reused_while_a_cursor_reads_it(2); }},
    {"V7, merged", mutant::validity_before_header, header_that_is_reused_while_a_merged_cursor_reads_it},
    {"V8", mutant::persisted_sequence_first,
     [] { return entry_that_is_committed_while_the_stream_does_not_say_so(horizon::persisted); }},
    {"V9", mutant::persisted_word_before_entry, [] { return half_an_entry(horizon::persisted); }},
    {"V10", mutant::copy_not_fenced, entry_whose_copy_is_seen_late},
    {"V12", mutant::features_not_looked_at_again, feature_that_is_raised_beside_a_cursor},
    {"P8", mutant::fields_before_state_word, slot_that_is_reused_while_it_is_read},
};

}  // namespace

TEST_CASE("the other side may act between any two steps") {
    for (const auto& l : labels) {
        CAPTURE(l.name);
        CHECK(l.play().value_or("") == "");
    }
}

TEST_CASE("two steps in the wrong order are noticed") {
    std::set<mutant> swapped;
    for (const auto& l : labels) {
        CAPTURE(l.name);
        base::active_mutant = l.swapped;
        const auto wrong = l.play();
        base::active_mutant = mutant::none;
        CHECK(wrong.has_value());
        MESSAGE(l.name << ": " << wrong.value_or("not noticed"));
        swapped.insert(l.swapped);
    }
    // Every mutant for which readers are responsible has its scene.
    CHECK(swapped.size() ==
          static_cast<std::size_t>(mutant::word_after_flag) - static_cast<std::size_t>(mutant::offset_before_entry));
}
