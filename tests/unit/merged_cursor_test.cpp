#include "src/format/layout.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using namespace std::chrono_literals;

TEST_CASE("entries of many regions come in sequence order, each once") {
    small_stream stream;
    const auto to = stream.write();
    std::vector<region> regions;
    for (int i = 0; i < 30; ++i)
        regions.push_back(must(to->allocate(4096)));
    std::mt19937 random(3);
    texts expected;
    for (int i = 0; i < 1000; ++i) {
        expected.push_back(std::to_string(i));
        must(to->append(regions[random() % regions.size()], bytes_of(expected.back())));
    }
    auto cursor = must(stream.read().follow_all({.check_crc = true}));
    std::uint64_t last = 0;
    texts seen;
    for (const entry& shown : cursor) {
        CHECK(to_uint(shown.sequence()) == ++last);
        CHECK(to_uint(cursor.last()) == last);
        seen.push_back(text_of(shown.payload()));
    }
    CHECK(seen == expected);
}

TEST_CASE("whatever becomes of the stream's sequence, a merged cursor shows what there is and ends") {
    for (const std::uint64_t lie : {~std::uint64_t{0}, ~std::uint64_t{0} - 1, format::sequence_max + 1,
                                    format::sequence_max, std::uint64_t{1000}}) {
        CAPTURE(lie);
        small_stream stream;
        const auto to = stream.write();
        const region where = must(to->allocate(4096));
        for (int i = 0; i < 3; ++i)
            must(to->append(where, bytes_of(std::to_string(i))));
        const auto from = stream.read();
        auto cursor = must(from.follow_all());
        auto image = read_image(stream.file);
        const std::uint64_t at = format::header_offset + offsetof(format::shared_header, commit.sequence);
        REQUIRE(image_at<std::uint64_t>(image, at) == 3);
        std::fstream(stream.file, std::ios::in | std::ios::out | std::ios::binary)
            .seekp(static_cast<std::streamoff>(at))
            .write(reinterpret_cast<const char*>(&lie), sizeof lie);
        CHECK(texts_of(cursor) == texts{"0", "1", "2"});
        CHECK(code_of(cursor.status()) == "ok");
        CHECK_FALSE(must(cursor.wait(1ms)).has_value());
        const auto late = from.follow_all({.start = from_newest{}});
        CHECK(code_of(late) == (lie > format::sequence_max ? "corrupt" : "ok"));
        // The next append puts it right.
        must(to->append(where, bytes_of("more")));
        CHECK(texts_of(cursor) == texts{"more"});
    }
}

TEST_CASE("regions that are allocated later join by themselves, also beyond the first table segment") {
    small_stream stream;
    const auto to = stream.write();
    const auto from = stream.read();
    auto cursor = must(from.follow_all());
    auto newest = must(from.follow_all({.start = from_newest{}}));
    CHECK(texts_of(cursor).empty());
    texts expected;
    for (int i = 0; i < 40; ++i) {
        const region fresh = must(to->allocate(64));
        expected.push_back(std::to_string(i));
        must(to->append(fresh, bytes_of(expected.back())));
        CHECK(texts_of(cursor) == texts{expected.back()});
    }
    CHECK(texts_of(newest) == expected);
}

TEST_CASE("a merged cursor starts at the oldest, at the newest or after a sequence, and at no offset") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const region b = must(to->allocate(4096));
    for (int i = 1; i <= 10; ++i)
        must(to->append(i % 3 == 0 ? a : b, bytes_of(std::to_string(i))));
    const auto from = stream.read();
    CHECK(all_texts(from).size() == 10);
    CHECK(all_texts(from, {.start = after{sequence{7}}}) == texts{"8", "9", "10"});
    CHECK(all_texts(from, {.start = after{sequence{10}}}).empty());
    CHECK(code_of(from.follow_all({.start = at_offset{offset{8192}}})) == "invalid_argument");
    auto newest = must(from.follow_all({.start = from_newest{}}));
    CHECK(to_uint(newest.last()) == 10);
    must(to->append(a, bytes_of("11")));
    must(to->append(b, bytes_of("12")));
    CHECK(texts_of(newest) == texts{"11", "12"});
}

TEST_CASE("after a sequence that no entry has yet, nothing up to it is shown") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const auto from = stream.read();
    must(to->append(a, bytes_of("1")));
    auto one = must(from.follow(a, {.start = after{sequence{3}}}));
    auto all = must(from.follow_all({.start = after{sequence{3}}}));
    CHECK(texts_of(one).empty());
    CHECK(texts_of(all).empty());
    must(to->append(a, bytes_of("2")));
    must(to->append(must(to->allocate(4096)), bytes_of("3")));
    must(to->append(a, bytes_of("4")));
    CHECK(texts_of(one) == texts{"4"});
    CHECK(texts_of(all) == texts{"4"});
}

TEST_CASE("when a region is freed under it one call answers region_gone and the next goes on") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const region b = must(to->allocate(4096));
    auto cursor = must(stream.read().follow_all());
    must(to->append(a, bytes_of("a1")));
    must(to->append(b, bytes_of("b2")));
    must(to->append(a, bytes_of("a3")));
    CHECK(text_of(must(cursor.next()).value().payload()) == "a1");
    must(to->free(a));
    must(to->append(b, bytes_of("b4")));
    texts seen;
    unsigned gone = 0;
    for (int calls = 0; calls < 10; ++calls) {
        const auto got = cursor.next();
        if (!got) {
            CHECK(code_of(got) == "region_gone");
            ++gone;
        } else if (*got) {
            seen.push_back(text_of((*got)->payload()));
        }
    }
    CHECK(gone == 1);
    CHECK(seen == texts{"b2", "b4"});
}

TEST_CASE("a cleared region is gone once and comes again with its new entries") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const region b = must(to->allocate(4096));
    must(to->append(a, bytes_of("a1")));
    must(to->append(b, bytes_of("b2")));
    auto cursor = must(stream.read().follow_all());
    CHECK(texts_of(cursor) == texts{"a1", "b2"});
    const region fresh = must(to->clear(a));
    must(to->append(fresh, bytes_of("a3")));
    must(to->append(b, bytes_of("b4")));
    const auto told = cursor.next();
    CHECK(code_of(told) == "region_gone");
    CHECK(texts_of(cursor) == texts{"a3", "b4"});
}

TEST_CASE("a reservation holds up the merged order no longer than its own region") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const region b = must(to->allocate(4096));
    auto cursor = must(stream.read().follow_all());
    auto open = must(to->reserve(a, 1));
    open.payload()[0] = std::byte{'a'};
    must(to->append(b, bytes_of("b")));
    CHECK(texts_of(cursor) == texts{"b"});
    must(to->publish(std::move(open)));
    must(to->append(b, bytes_of("c")));
    CHECK(texts_of(cursor) == texts{"a", "c"});
}

TEST_CASE("a merged wait returns an entry that is there at once, and nothing after its timeout") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    must(to->append(a, bytes_of("a")));
    for (const auto spin : {0ns, std::chrono::nanoseconds(1000), spin_for_ever}) {
        auto cursor = must(stream.read().follow_all({.spin = spin}));
        CHECK(must(cursor.wait()).has_value());
        CHECK_FALSE(must(cursor.wait(2ms)).has_value());
        CHECK_FALSE(must(cursor.wait(0ns)).has_value());
    }
}

TEST_CASE("a merged cursor knows how far behind it is") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const region b = must(to->allocate(4096));
    for (int i = 0; i < 4; ++i)
        must(to->append(i % 2 == 0 ? a : b, bytes_of("x")));
    auto cursor = must(stream.read().follow_all());
    CHECK(cursor.lag().sequences == 4);
    CHECK(cursor.lag().bytes == 4 * 24);
    (void)must(cursor.next());
    CHECK(cursor.lag().sequences == 3);
    CHECK(cursor.lag().bytes == 3 * 24);
    CHECK(texts_of(cursor).size() == 3);
    CHECK(cursor.lag().sequences == 0);
    CHECK(cursor.lag().bytes == 0);
}

TEST_CASE("damage in one region ends a merged cursor with corrupt before anything later is shown") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4096));
    const region b = must(to->allocate(4096));
    must(to->append(a, bytes_of("a1")));
    must(to->append(b, bytes_of("b2")));
    must(to->append(a, bytes_of("a3")));
    must(to->append(b, bytes_of("b4")));
    const auto begin = to_uint(must(to->describe(b)).begin);
    flip(stream.file, begin + 24 + 16);
    auto cursor = must(stream.read().follow_all({.check_crc = true}));
    texts seen;
    for (const entry& shown : cursor)
        seen.push_back(text_of(shown.payload()));
    CHECK(code_of(cursor.status()) == "corrupt");
    // A prefix of the stream, never entries beyond the damage.
    CHECK((seen == texts{"a1"} || seen == texts{"a1", "b2"} || seen == texts{"a1", "b2", "a3"}));
    CHECK(code_of(cursor.next()) == "corrupt");
}

}  // namespace
