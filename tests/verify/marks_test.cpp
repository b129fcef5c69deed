#include "src/stream/marks.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"
#include "tests/support/stream_forge.hpp"
#include "tests/tools/process.hpp"
#include "tests/verify/salvaged.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

// Times and marks, which this version reads, checks and recovers, and does not write: the streams are made by hand.
using namespace pmemstream;
using namespace pmemstream::test;
using format::entry_meta;
using format::mark_payload;
using format::system_type;

namespace {

constexpr std::uint64_t minute_us = 60'000'000;

/// One region "a" with an entry, a time, a mark, another entry and another mark behind it.
struct marked_stream : small_stream {
    std::uint64_t begin = 0;
    std::uint64_t first_mark = 0;
    std::uint64_t second_mark = 0;
    std::uint64_t end = 0;

    marked_stream() {
        {
            const auto writer = write();
            (void)must(writer->allocate(4096, "a"));
            must(writer->close());
        }
        const stream_forge forge(file);
        begin = forge.append_user(0, "one");
        forge.append(0, entry_meta::system(system_type::time, minute_us), "");
        first_mark = forge.append_mark(0, mark(minute_us, 1, 2));
        forge.append_user(0, "two");
        auto second = mark(2 * minute_us, 2, 3);
        second.previous = second.jump = first_mark;
        second_mark = forge.append_mark(0, second);
        forge.append_user(0, "three");
        end = forge.slot(0).commit.commit_offset;
    }

    [[nodiscard]] static mark_payload mark(std::uint64_t time_us, std::uint64_t index, std::uint64_t sequence) {
        return {.time_us = time_us,
                .clock_us = time_us,
                .index = index,
                .sequence = sequence,
                .epoch = 1,
                .previous = 0,
                .jump = 0};
    }
    [[nodiscard]] texts shown() const {
        const auto reader = read();
        return texts_in(reader, must(reader.find("a")));
    }
    [[nodiscard]] nlohmann::json verify(int status) const {
        const auto got = run({inspect_tool, "verify", file, "--json"});
        REQUIRE_MESSAGE(got.status() == status, got.out << got.err);
        return nlohmann::json::parse(got.out);
    }
};

const texts all{"one", "two", "three"};

}  // namespace

TEST_CASE("times and marks are counted, checked and shown to nobody") {
    const marked_stream stream;
    CHECK(stream.shown() == all);
    CHECK(all_texts(stream.read()) == all);
    const auto report = stream.verify(0);
    CHECK(report["regions"][0]["entries"] == 3);
    CHECK(report["regions"][0]["system_entries"] == 4);  // the head as well
    CHECK(salvage(stream.file, 0).entries.size() == 3);
    // A writer goes on behind them, and what it clears has none.
    const auto writer = stream.write();
    const auto a = must(writer->find("a"));
    CHECK(must(writer->append(a, bytes_of("four"))) == sequence{4});
    (void)must(writer->clear(a));
    const stream_forge forge(stream.file);
    CHECK(forge.slot(0).commit.mark_offset == 0);
    CHECK(forge.slot(0).persist.mark_offset == 0);
}

TEST_CASE("marks that contradict each other, or the entries between them, are damage") {
    struct wrong {
        const char* what;
        mark_payload mark;
    };
    const wrong all_wrong[] = {
        {"another index", marked_stream::mark(3 * minute_us, 4, 4)},
        {"a time that falls", marked_stream::mark(minute_us, 3, 4)},
        {"a sequence that was given", marked_stream::mark(3 * minute_us, 3, 3)},
        {"another epoch", {3 * minute_us, 3 * minute_us, 3, 4, 0, 0, 0}},
        {"an impossible index", marked_stream::mark(3 * minute_us, format::sequence_max + 1, 4)},
    };
    for (const auto& [what, mark] : all_wrong) {
        CAPTURE(what);
        const marked_stream stream;
        std::uint64_t at = 0;
        {
            const stream_forge forge(stream.file);
            at = forge.append_mark(0, mark);
        }
        const auto report = stream.verify(3);
        REQUIRE(report["findings"].size() == 1);
        CHECK(report["findings"][0]["kind"] == "mark");
        CHECK(report["findings"][0]["offset"] == at);
    }
    // What the mark promises of the entry behind it.
    const marked_stream stream;
    {
        const stream_forge forge(stream.file);
        forge.append_mark(0, marked_stream::mark(3 * minute_us, 3, 6));
        forge.append_user(0, "too early");
    }
    CHECK(stream.verify(3)["findings"][0]["kind"] == "mark");
}

TEST_CASE("a lost range counts as many indexes as it says") {
    const marked_stream stream;
    {
        const stream_forge forge(stream.file);
        forge.append(0, entry_meta::system(system_type::lost, 10), "whatever lay there");
        forge.append_mark(0, marked_stream::mark(3 * minute_us, 13, 4));
    }
    CHECK(stream.verify(0)["verdict"] == "fine");
    CHECK(stream.shown() == all);
}

TEST_CASE("a recovery finds the newest mark again, before the commit offset as before the persisted one") {
    const marked_stream stream;
    const auto recovered = [&] {
        const stream_forge forge(stream.file);
        return std::pair(forge.slot(0).commit.mark_offset, forge.slot(0).persist.mark_offset);
    };
    const auto image = read_image(stream.file);
    const auto again = [&](auto change) {
        write_image(stream.file, image);
        {
            const stream_forge forge(stream.file);
            change(forge);
        }
        const auto writer = stream.write();
        must(writer->close());
        CHECK(stream.shown() == all);
        return recovered();
    };
    const auto both = std::pair(stream.second_mark, stream.second_mark);
    CHECK(again([](const stream_forge&) {}) == both);
    // Power loss: both lines are of an earlier moment, before the second mark.
    CHECK(again([&](const stream_forge& forge) {
              forge.leave_unclean();
              auto& slot = forge.slot(0);
              slot.persist.persisted = format::persisted_word(stream.first_mark + format::mark_entry_bytes, 1);
              slot.persist.mark_offset = slot.commit.mark_offset = stream.first_mark;
          }) == both);
    // Offsets that lead to no mark are hints that cost nothing but the hint.
    for (const std::uint64_t lie :
         {stream.begin, stream.end, stream.second_mark + 8, ~std::uint64_t{0}, std::uint64_t{3}}) {
        CAPTURE(lie);
        const auto told = again([&](const stream_forge& forge) {
            forge.leave_unclean();
            forge.slot(0).commit.mark_offset = lie;
        });
        CHECK(told == both);  // the persist line tells
        const auto untold = again([&](const stream_forge& forge) {
            forge.leave_unclean();
            forge.slot(0).commit.mark_offset = forge.slot(0).persist.mark_offset = lie;
        });
        CHECK(untold == std::pair(std::uint64_t{0}, std::uint64_t{0}));
    }
}

TEST_CASE("a mark's own words name it: other entries, damage and other places are none") {
    const marked_stream stream;
    const auto file = must(core::stream_file::open(stream.file, medium::access::read, false));
    const auto cold = stream_forge(stream.file).slot(0).cold;
    const auto mark = core::mark_at(*file, cold, stream.second_mark, stream.end);
    REQUIRE(mark);
    CHECK(mark->index == 2);
    CHECK(mark->previous == stream.first_mark);
    CHECK(core::mark_at(*file, cold, stream.second_mark, stream.second_mark + format::mark_entry_bytes));
    CHECK(!core::mark_at(*file, cold, stream.second_mark, stream.second_mark + format::mark_entry_bytes - 8));
    for (std::uint64_t offset = 0; offset <= stream.end + 64; offset += 4)
        CHECK(core::mark_at(*file, cold, offset, stream.end).has_value() ==
              (offset == stream.first_mark || offset == stream.second_mark));
    for (std::uint64_t byte = 0; byte < format::mark_entry_bytes; ++byte) {
        flip(stream.file, stream.second_mark + byte);
        CHECK(!core::mark_at(*file, cold, stream.second_mark, stream.end));
        flip(stream.file, stream.second_mark + byte);
    }
}
