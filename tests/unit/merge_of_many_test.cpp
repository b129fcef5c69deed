#include "src/format/layout.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

/// Appends `count` entries, each with its own sequence as text, in runs of up to `run_max` per region.
texts fill(writer& to, const std::vector<region>& regions, unsigned count, unsigned run_max, unsigned& number) {
    std::mt19937 random(run_max + static_cast<unsigned>(regions.size()));
    texts expected;
    while (count > 0) {
        const region where = regions[random() % regions.size()];
        for (unsigned run = 1 + random() % run_max; run > 0 && count > 0; --run, --count) {
            expected.push_back(std::to_string(++number));
            must(to.append(where, bytes_of(expected.back())));
        }
    }
    return expected;
}

std::vector<region> allocate(writer& to, unsigned count, std::uint64_t bytes) {
    std::vector<region> regions;
    for (unsigned i = 0; i < count; ++i)
        regions.push_back(must(to.allocate(bytes)));
    return regions;
}

TEST_CASE("one region or hundreds, single entries or long runs, with CRC or without: the order is that of sequences") {
    for (const unsigned count : {1U, 17U, 65U, 300U})
        for (const unsigned run_max : {1U, 700U}) {
            small_stream stream(std::uint64_t{16} << 20);
            const auto to = stream.write();
            unsigned number = 0;
            const auto expected = fill(*to, allocate(*to, count, 12'000'000 / count), 3000, run_max, number);
            const auto from = stream.read();
            CHECK(texts_of(must(from.follow_all())) == expected);
            CHECK(all_texts(from) == expected);
            const texts rest(expected.begin() + 1234, expected.end());
            CHECK(texts_of(must(from.follow_all({.start = after{sequence{1234}}}))) == rest);
        }
}

TEST_CASE("entries that come one by one are shown one by one, wherever they are appended") {
    small_stream stream(std::uint64_t{4} << 20);
    const auto to = stream.write();
    const auto regions = allocate(*to, 70, 8192);
    auto plain = must(stream.read().follow_all());
    auto checked = must(stream.read().follow_all({.check_crc = true}));
    std::mt19937 random(5);
    for (unsigned i = 0; i < 2000; ++i) {
        const std::string text = std::to_string(i);
        must(to->append(regions[random() % regions.size()], bytes_of(text)));
        CHECK(texts_of(plain) == texts{text});
        CHECK(texts_of(checked) == texts{text});
    }
}

TEST_CASE("sequences of freed regions are passed over, few or many more than there are regions") {
    for (const unsigned run_max : {1U, 3000U}) {
        small_stream stream(std::uint64_t{16} << 20);
        const auto to = stream.write();
        const auto kept = allocate(*to, 20, 131'072);
        const auto lost = allocate(*to, 20, 131'072);
        unsigned number = 0;
        texts expected;
        for (int i = 0; i < 3; ++i) {
            for (const auto& text : fill(*to, kept, 500, run_max, number))
                expected.push_back(text);
            (void)fill(*to, lost, 3000, run_max, number);
        }
        for (const region where : lost)
            must(to->free(where));
        const auto from = stream.read();
        CHECK(texts_of(must(from.follow_all())) == expected);
        CHECK(all_texts(from) == expected);
        auto cursor = must(from.follow_all({.start = from_newest{}}));
        CHECK(texts_of(cursor).empty());
        CHECK(texts_of(cursor).empty());
        const auto fresh = fill(*to, kept, 10, 1, number);
        CHECK(texts_of(cursor) == fresh);
    }
}

TEST_CASE(
    "regions that come, go and are cleared in the middle of a run each tell once, and nothing of the others is lost") {
    for (const bool check_crc : {false, true}) {
        small_stream stream(std::uint64_t{4} << 20);
        const auto to = stream.write();
        const region kept = must(to->allocate(1 << 20));
        auto cursor = must(stream.read().follow_all({.check_crc = check_crc}));
        std::mt19937 random(11);
        std::vector<region> others;
        texts expected;
        texts seen;
        unsigned ended = 0;
        unsigned told = 0;
        std::uint64_t newest = 0;
        const auto read = [&](unsigned entries) {
            for (unsigned i = 0; i < entries; ++i) {
                const auto got = cursor.next();
                if (!got) {
                    CHECK(code_of(got) == "region_gone");
                    ++told;
                } else if (!*got) {
                    return;
                } else {
                    CHECK(to_uint((*got)->sequence()) > newest);
                    newest = to_uint((*got)->sequence());
                    const auto text = text_of((*got)->payload());
                    if ((*got)->where() == kept)
                        seen.push_back(text);
                    else
                        CHECK(text == "other");
                }
            }
        };
        for (unsigned i = 0; i < 4000; ++i) {
            const unsigned what = random() % 100;
            if (what < 4 && others.size() < 100) {
                others.push_back(must(to->allocate(4096)));
            } else if (what < 6 && !others.empty()) {
                const std::size_t which = random() % others.size();
                if (what == 4) {
                    others[which] = must(to->clear(others[which]));
                } else {
                    must(to->free(others[which]));
                    others.erase(others.begin() + static_cast<std::ptrdiff_t>(which));
                }
                ++ended;
            } else if (what < 60 && !others.empty()) {
                (void)to->append(others[random() % others.size()], bytes_of("other"));
            } else {
                expected.push_back(std::to_string(i));
                must(to->append(kept, bytes_of(expected.back())));
            }
            read(random() % 3);
        }
        // Whatever the cursor has not met before it ended, it need not tell of.
        must(to->append(kept, bytes_of("last")));
        expected.push_back("last");
        read(100'000);
        CHECK(seen == expected);
        CHECK(told <= ended);
        CHECK(told > 0);
    }
}

TEST_CASE("a sequence that two regions claim is damage, and nothing behind it is shown") {
    for (const bool seen_by_stepping : {true, false}) {
        small_stream stream;
        const auto to = stream.write();
        const auto regions = allocate(*to, 2, 4096);
        if (seen_by_stepping)
            must(to->append(regions[0], bytes_of("1")));
        const std::uint64_t first = to_uint(must(to->append(regions[1], bytes_of("b"))));
        must(to->append(regions[0], bytes_of("a")));
        must(to->append(regions[1], bytes_of("c")));
        const auto begin = to_uint(must(to->describe(regions[1])).begin);
        auto header = peek<format::entry_header>(stream.file, begin);
        header.meta += 1;
        poke(stream.file, begin, header);
        auto cursor = must(stream.read().follow_all());
        texts seen;
        for (const entry& shown : cursor)
            seen.push_back(text_of(shown.payload()));
        CHECK(code_of(cursor.status()) == "corrupt");
        CHECK(cursor.status().error().message().find("sequence out of order") != std::string::npos);
        CHECK(seen == (seen_by_stepping ? texts{"1"} : texts{}));
        CHECK(to_uint(cursor.last()) < first + 1);
        CHECK(code_of(cursor.next()) == "corrupt");
    }
}

}  // namespace
