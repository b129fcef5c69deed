#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using namespace std::chrono_literals;

/// Ten entries "0" to "9" in one region, sequences 1 to 10.
struct ten_entries : small_stream {
    std::unique_ptr<writer> to = write();
    reader from = read();
    region where = must(to->allocate(4096));

    ten_entries() {
        for (int i = 0; i < 10; ++i)
            must(to->append(where, bytes_of(std::to_string(i))));
    }
    [[nodiscard]] texts start(start_at at) const { return texts_in(from, where, {.start = at}); }
};

TEST_CASE("from_oldest shows everything, from_newest only what comes") {
    ten_entries stream;
    CHECK(stream.start(from_oldest{}) == texts{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
    auto newest = must(stream.from.follow(stream.where, {.start = from_newest{}}));
    CHECK(texts_of(newest).empty());
    must(stream.to->append(stream.where, bytes_of("new")));
    CHECK(texts_of(newest) == texts{"new"});
    CHECK(to_uint(newest.last()) == 11);
}

TEST_CASE("after a sequence shows the first greater one, wherever that is") {
    ten_entries stream;
    CHECK(stream.start(after{sequence{0}}).size() == 10);
    CHECK(stream.start(after{sequence{1}}).front() == "1");
    CHECK(stream.start(after{sequence{7}}) == texts{"7", "8", "9"});
    CHECK(stream.start(after{sequence{9}}) == texts{"9"});
    CHECK(stream.start(after{sequence{10}}).empty());
    CHECK(stream.start(after{sequence{1'000'000}}).empty());
    auto later = must(stream.from.follow(stream.where, {.start = after{sequence{10}}}));
    must(stream.to->append(stream.where, bytes_of("10")));
    CHECK(texts_of(later) == texts{"10"});
}

TEST_CASE("at_offset resumes where a cursor stood, at every entry and at the end") {
    ten_entries stream;
    auto cursor = must(stream.from.follow(stream.where));
    for (std::size_t shown = 0; shown <= 10; ++shown) {
        const auto rest = stream.start(at_offset{cursor.position()});
        CHECK(rest.size() == 10 - shown);
        if (!rest.empty())
            CHECK(rest.front() == std::to_string(shown));
        (void)must(cursor.next());
    }
    auto at_end = must(stream.from.follow(stream.where, {.start = at_offset{cursor.position()}}));
    must(stream.to->append(stream.where, bytes_of("10")));
    CHECK(texts_of(at_end) == texts{"10"});
}

TEST_CASE("at_offset refuses every offset at which no entry begins") {
    ten_entries stream;
    const auto info = must(stream.to->describe(stream.where));
    const auto begin = to_uint(info.begin), end = to_uint(info.committed_end);
    unsigned entries = 0, refused = 0;
    for (std::uint64_t at = begin - 80; at < end + 80; ++at) {
        const auto got = stream.from.follow(stream.where, {.start = at_offset{offset{at}}});
        const bool begins = at >= begin && at <= end && (at - begin) % 24 == 0;  // not the head
        CHECK(code_of(got) == (begins ? "ok" : "invalid_offset"));
        ++(begins ? entries : refused);
    }
    CHECK(entries == 11);
    CHECK(refused > 300);
    for (const std::uint64_t far :
         {std::uint64_t{0}, to_uint(info.extent), std::uint64_t{1} << 20, ~std::uint64_t{0}, ~std::uint64_t{7}})
        CHECK(code_of(stream.from.follow(stream.where, {.start = at_offset{offset{far}}})) == "invalid_offset");
}

TEST_CASE("a payload that imitates an entry is no place to start at") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(4096));
    const auto begin = to_uint(must(to->describe(where)).begin);
    must(to->append(where, bytes_of("real")));
    // The bytes of that entry, taken from the file, as the payload of another.
    const auto image = read_image(stream.file);
    const std::vector<std::byte> imitation(image.begin() + static_cast<std::ptrdiff_t>(begin),
                                           image.begin() + static_cast<std::ptrdiff_t>(begin + 24));
    must(to->append(where, imitation));
    must(to->append(where, bytes_of("behind")));
    const auto from = stream.read();
    const auto inside = offset{begin + 24 + 16};
    CHECK(code_of(from.follow(where, {.start = at_offset{inside}})) == "invalid_offset");
    CHECK(code_of(from.follow(where, {.start = at_offset{offset{begin + 24}}})) == "ok");
    CHECK(texts_in(from, where) == texts{"real", text_of(imitation), "behind"});
}

TEST_CASE("a range-for ends at the newest entry and can be begun again") {
    ten_entries stream;
    auto cursor = must(stream.from.follow(stream.where));
    int seen = 0;
    for (const entry& shown : cursor) {
        CHECK(text_of(shown.payload()) == std::to_string(seen));
        if (++seen == 4)
            break;
    }
    // The entry in hand when the loop was left is shown; the next loop goes on behind it.
    for (const entry& shown : cursor)
        CHECK(text_of(shown.payload()) == std::to_string(seen++));
    CHECK(seen == 10);
    CHECK(cursor.status().has_value());
    must(stream.to->append(stream.where, bytes_of("10")));
    for (const entry& shown : cursor)
        CHECK(text_of(shown.payload()) == std::to_string(seen++));
    CHECK(seen == 11);
}

TEST_CASE("a range-for over a region that is gone ends with that error in status") {
    ten_entries stream;
    auto cursor = must(stream.from.follow(stream.where));
    (void)must(cursor.next());
    must(stream.to->free(stream.where));
    int seen = 0;
    for (const entry& shown : cursor) {
        (void)shown;
        ++seen;
    }
    CHECK(seen == 0);
    CHECK(code_of(cursor.status()) == "region_gone");
}

TEST_CASE("wait with a timeout returns nothing when nothing comes, and an entry that is there at once") {
    ten_entries stream;
    for (const auto spin : {0ns, std::chrono::nanoseconds(1000), spin_for_ever}) {
        auto cursor = must(stream.from.follow(stream.where, {.start = after{sequence{9}}, .spin = spin}));
        auto got = must(cursor.wait());
        REQUIRE(got);
        CHECK(text_of(got->payload()) == "9");
        CHECK_FALSE(must(cursor.wait(2ms)).has_value());
        CHECK_FALSE(must(cursor.wait(0ns)).has_value());
        CHECK_FALSE(must(cursor.wait(-1ns)).has_value());
    }
}

TEST_CASE("an entry stays readable in place until its region goes, and says so then") {
    ten_entries stream;
    auto cursor = must(stream.from.follow(stream.where));
    const entry kept = must(cursor.next()).value();
    must(stream.to->append(stream.where, bytes_of("more")));
    CHECK(kept.valid());
    CHECK(text_of(kept.payload()) == "0");
    std::vector<std::byte> copy;
    CHECK(code_of(kept.read_into(copy)) == "ok");
    CHECK(text_of(copy) == "0");
    const region fresh = must(stream.to->clear(stream.where));
    CHECK_FALSE(kept.valid());
    CHECK(code_of(kept.read_into(copy)) == "region_gone");
    CHECK(copy.empty());
    must(stream.to->append(fresh, bytes_of("x")));
    CHECK_FALSE(kept.valid());
}

TEST_CASE("entries and cursors outlive the reader they came from") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    must(to->append(where, bytes_of("one")));
    auto cursor = must(stream.read().follow(where));
    const entry shown = must(cursor.next()).value();
    CHECK(shown.valid());
    CHECK(text_of(shown.payload()) == "one");
    auto moved = std::move(cursor);
    must(to->append(where, bytes_of("two")));
    CHECK(texts_of(moved) == texts{"two"});
}

TEST_CASE("lag counts entries as sequences, and bytes with headers and padding") {
    ten_entries stream;
    auto cursor = must(stream.from.follow(stream.where));
    CHECK(cursor.lag().sequences == 10);
    CHECK(cursor.lag().bytes == 240);
    for (std::uint64_t shown = 1; shown <= 10; ++shown) {
        (void)must(cursor.next());
        CHECK(cursor.lag().sequences == 10 - shown);
        CHECK(cursor.lag().bytes == 24 * (10 - shown));
    }
    must(stream.to->append(stream.where, {}));
    CHECK(cursor.lag().sequences == 1);
    CHECK(cursor.lag().bytes == 16);
}

TEST_CASE("damage below the commit offset is corrupt with region and offset, and the cursor stays there") {
    ten_entries stream;
    const auto begin = to_uint(must(stream.to->describe(stream.where)).begin);
    const auto damaged = begin + 4 * 24;
    SUBCASE("a byte of a payload, when the CRC is checked") {
        flip(stream.file, damaged + 16);
        // Unchecked, the cursor hands out what is there.
        auto unchecked = must(stream.from.follow(stream.where));
        CHECK(texts_of(unchecked).size() == 10);
    }
    SUBCASE("a sequence that is not greater") {
        const std::uint64_t meta = peek<std::uint64_t>(stream.file, damaged + 8);
        poke(stream.file, damaged + 8, meta - 1);
    }
    SUBCASE("a length that reaches beyond the commit offset") {
        poke(stream.file, damaged, 4000u);
    }
    SUBCASE("reserved bits") {
        flip(stream.file, damaged + 15, std::byte{0x80});
    }
    auto cursor = must(stream.from.follow(stream.where, {.check_crc = true}));
    for (int i = 0; i < 4; ++i)
        CHECK(must(cursor.next()).has_value());
    for (int i = 0; i < 3; ++i) {
        const auto got = cursor.next();
        CHECK(code_of(got) == "corrupt");
        CHECK(message_of(got).find(std::to_string(damaged)) != std::string::npos);
        CHECK(message_of(got).find("slot 0") != std::string::npos);
    }
    CHECK(to_uint(cursor.position()) == damaged);
}

TEST_CASE("a cursor that was moved goes on where it was, also back and over another one") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(65'536));
    for (int i = 0; i < 20; ++i)
        must(to->append(where, bytes_of(std::to_string(i))));
    const auto from = stream.read();
    const auto moved = [](auto first, auto second) {
        const auto next = [](auto& at) { return text_of(must(at.next()).value().payload()); };
        CHECK(next(first) == "0");
        auto other = std::move(first);
        CHECK(next(other) == "1");
        first = std::move(other);
        CHECK(next(first) == "2");
        CHECK(next(second) == "0");
        second = std::move(first);
        CHECK(next(second) == "3");
        first = std::move(second);
        CHECK(next(first) == "4");
    };
    moved(must(from.follow(where)), must(from.follow(where)));
    moved(must(from.follow_all()), must(from.follow_all()));
}

TEST_CASE("entry_bytes is the header, the payload and padding to eight") {
    CHECK(format::entry_bytes(0) == 16);
    CHECK(format::entry_bytes(1) == 24);
    CHECK(format::entry_bytes(8) == 24);
    CHECK(format::entry_bytes(9) == 32);
    CHECK(format::entry_bytes(payload_bytes_max) < (std::uint64_t{1} << 32));
}

TEST_CASE(
    "where CRCs are checked no changed byte of an entry is shown, short or long, and changed padding is no damage") {
    for (const std::size_t length : {0, 1, 7, 8, 13, 16, 31, 33, 64, 200, 256, 257, 300}) {
        small_stream stream;
        const auto to = stream.write();
        const region where = must(to->allocate(4096));
        const std::string text(length, 'x');
        for (int i = 0; i < 3; ++i)
            must(to->append(where, bytes_of(text)));
        const std::uint64_t bytes = format::entry_bytes(length);
        const std::uint64_t second = to_uint(must(to->describe(where)).begin) + bytes;
        const auto from = stream.read();
        for (std::uint64_t i = 0; i < bytes; ++i) {
            flip(stream.file, second + i, std::byte{0x21});
            auto one = must(from.follow(where, {.check_crc = true}));
            auto all = must(from.follow_all({.check_crc = true}));
            const bool padding = i >= sizeof(format::entry_header) + length;
            CHECK(text_of(must(one.next()).value().payload()) == text);
            CHECK(text_of(must(all.next()).value().payload()) == text);
            CHECK(code_of(one.next()) == (padding ? "ok" : "corrupt"));
            CHECK(code_of(all.next()) == (padding ? "ok" : "corrupt"));
            flip(stream.file, second + i, std::byte{0x21});
        }
    }
}

TEST_CASE(
    "where CRCs are checked the entries of one writer after another are shown, and damage in the last one's is not") {
    small_stream stream;
    region where;
    texts expected;
    for (int writers = 0; writers < 300; ++writers) {
        const auto to = stream.write();
        if (writers == 0)
            where = must(to->allocate(65'536));
        for (int i = 0; i < 2; ++i) {
            expected.push_back(std::to_string(writers * 2 + i));
            must(to->append(where, bytes_of(expected.back())));
        }
    }
    const auto from = stream.read();
    CHECK(texts_in(from, where) == expected);
    CHECK(all_texts(from) == expected);
    const auto info = must(from.describe(where));
    flip(stream.file, to_uint(info.begin) + info.used_bytes - format::entry_bytes(3) + sizeof(format::entry_header));
    auto cursor = must(from.follow(where, {.check_crc = true}));
    for (std::size_t i = 1; i < expected.size(); ++i)
        CHECK(text_of(must(cursor.next()).value().payload()) == expected[i - 1]);
    CHECK(code_of(cursor.next()) == "corrupt");
}

}  // namespace
