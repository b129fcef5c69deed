#include "tests/crash/dead_stream.hpp"
#include "tests/crash/unreadable_end.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/forced_cache_lines.hpp"

#include <pmemstream/fault_guard.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

// The row "a process died" where pages are synced: a commit offset may be of an earlier moment than what lies behind it,
// because the medium refused its page, and the page has left the memory since.

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using found = recovery_report::state;

/// Region "r" with entries "a" to "f", "b" with "c" and "d" in one batch, of a writer that died; and then as if the page of
/// the region's commit line were of the moment after the first `n`.
struct stream_of_a_lost_page : dead_stream {
    explicit stream_of_a_lost_page(std::uint64_t n) {
        dies_after([](writer& to) {
            const region where = must(to.allocate(2000, "r"));
            must(to.append(where, bytes_of("a")));
            const std::vector<std::span<const std::byte>> batch = {bytes_of("b"), bytes_of("c"), bytes_of("d")};
            must(to.append_batch(where, batch));
            must(to.abandon(must(to.reserve(where, 8))));
            must(to.append(where, bytes_of("e")));
            must(to.append(where, bytes_of("f")));
        });
        poke(file, commit_offset(0), entry_at(0, n));
        const std::uint64_t newest = n > 4 ? n - 1 : n;  // the fifth is what was abandoned
        poke(file, commit_sequence(0), newest);
        poke(file, stream_sequence, newest);
    }
};

TEST_CASE("what the last writer left whole behind the commit offset counts") {
    for (const std::uint64_t known : {0u, 1u, 4u, 6u}) {
        CAPTURE(known);
        stream_of_a_lost_page stream(known);
        const auto to = stream.write();
        CHECK(to->recovery().found == found::process_died);
        CHECK(to->recovery().entries_recovered == (known < 5 ? 6 - known : 1));
        CHECK(to->recovery().regions_cut == 0);
        CHECK(content(stream) == texts{"a", "b", "c", "d", "e", "f"});
        CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("g")))) == 7);
        must(to->persist());
        CHECK(to_uint(to->persisted()) == 7);
    }
}

TEST_CASE("what is torn behind the commit offset is cut, and a batch whole or not") {
    for (const auto& [torn, left] : std::vector<std::pair<std::uint64_t, texts>>{
             {0, {}}, {1, {"a"}}, {2, {"a"}}, {3, {"a"}}, {5, {"a", "b", "c", "d"}}, {6, {"a", "b", "c", "d", "e"}}}) {
        CAPTURE(torn);
        stream_of_a_lost_page stream(0);
        flip(stream.file, stream.entry_at(0, torn) + 16);
        const auto to = stream.write();
        CHECK(to->recovery().found == found::process_died);
        CHECK(to->recovery().entries_recovered == left.size());
        // Where the first is torn it was about to be committed; else it tells that pages are of several moments.
        CHECK(to->recovery().regions_cut_before_whole_entries == (torn == 0 || torn == 6 ? 0 : 1));
        CHECK(to->recovery().regions_cut == to->recovery().regions_cut_before_whole_entries);
        CHECK(content(stream) == left);
        must(to->append(must(to->find("r")), bytes_of("g")));
        auto expected = left;
        expected.emplace_back("g");
        CHECK(content(stream) == expected);
    }
}

TEST_CASE("what fills an entry up to a multiple of 8 is zero afterwards") {
    // Of the end of a payload and what fills it the medium may have an earlier version, in which the end is the same.
    stream_of_a_lost_page stream(0);
    for (const std::uint64_t n : {0u, 2u, 5u})
        poke(stream.file, stream.entry_at(0, n) + 16 + 1, std::array{std::byte{'x'}, std::byte{'y'}});
    must(stream.write()->close());
    CHECK(content(stream) == texts{"a", "b", "c", "d", "e", "f"});
    for (const std::uint64_t n : {0u, 1u, 2u, 3u, 5u, 6u})
        CHECK(peek<std::uint64_t>(stream.file, stream.entry_at(0, n) + 16) < 256);
}

TEST_CASE("an earlier writer's entry behind the commit offset is nothing") {
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        for (const char* text : {"a", "b", "c"})
            must(to.append(where, bytes_of(text)));
    });
    // A writer that does nothing to the region: its epoch is the header's.
    stream.dies_after([](writer&) {});
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
    const auto to = stream.write();
    CHECK(to->recovery().entries_recovered == 0);
    CHECK(content(stream) == texts{"a"});
}

TEST_CASE("a persisted offset ahead of the commit offset counts") {
    // The two lines are in two pages.
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        for (const char* text : {"a", "b"})
            must(to.append(where, bytes_of(text)));
        must(to.persist());
        must(to.append(where, bytes_of("c")));
    });
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
    const auto to = stream.write();
    CHECK(to->recovery().found == found::process_died);
    CHECK(to->recovery().entries_recovered == 1);
    CHECK(content(stream) == texts{"a", "b", "c"});
    CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("d"), horizon::persisted))) == 4);
}

TEST_CASE("which of the rules holds is the last writer's medium to say, not the next one's") {
    const auto dies = [](const dead_stream& stream) {
        stream.dies_after([](writer& to) {
            const region where = must(to.allocate(2000, "r"));
            for (const char* text : {"a", "b", "c"})
                must(to.append(where, bytes_of(text)));
        });
        poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
        poke(stream.file, stream.commit_sequence(0), std::uint64_t{1});
        poke(stream.file, stream.stream_sequence, std::uint64_t{1});
    };
    SUBCASE("pages, then cache lines") {
        dead_stream stream;
        dies(stream);
        const forced_cache_lines forced;
        CHECK(stream.write()->recovery().entries_recovered == 2);
        CHECK(content(stream) == texts{"a", "b", "c"});
    }
    SUBCASE("cache lines, then pages") {
        dead_stream stream;
        {
            const forced_cache_lines forced;
            dies(stream);
        }
        CHECK(stream.write()->recovery().entries_recovered == 0);
        CHECK(content(stream) == texts{"a"});
    }
}

TEST_CASE("an append that was refused because the mapping had faulted is not there afterwards") {
    for (const std::size_t bytes : {8u, 200u, 300u, 20'000u}) {
        CAPTURE(bytes);
        const dead_stream stream(1 << 20, 4096);
        stream.dies_after([&](writer& to) {
            must(install_fault_guard());
            const region where = must(to.allocate(100'000, "r")), behind = must(to.allocate(400'000, "behind"));
            must(to.append(where, bytes_of("good")));
            {
                const unreadable_end away(stream.file, 150'000);
                demand(code_of(to.append(behind, bytes_of(std::string(300'000, 'x')))) == "io", "the mapping faults");
            }
            demand(code_of(to.append(where, bytes_of(std::string(bytes, 'x')))) == "io", "and is not used any more");
        });
        const auto to = stream.write();
        CHECK(to->recovery().entries_recovered == 0);
        CHECK(content(stream) == texts{"good"});
        CHECK(content(stream, "behind").empty());
    }
}

TEST_CASE("nothing is taken back from behind a full region") {
    for (const std::uint64_t left : {0u, 8u}) {
        CAPTURE(left);
        const dead_stream stream(1 << 20, 4096);
        stream.dies_after([&](writer& to) {
            must(install_fault_guard());
            const std::uint64_t overhead = region_overhead_bytes("full");
            const region full = must(to.allocate(4096 - overhead, "full")),
                         next = must(to.allocate(4096 - overhead, "next"));
            const region last = must(to.allocate(400'000, "last"));
            must(to.append(next, bytes_of("good")));
            const auto room = must(to.describe(full)).size_bytes;
            must(to.append(full, bytes_of(std::string(room - 16 - left, 'x'))));
            demand(to_uint(must(to.describe(full)).begin) + room + overhead == to_uint(must(to.describe(next)).begin),
                   "one lies behind the other");
            {
                const unreadable_end away(stream.file, 150'000);
                demand(code_of(to.append(last, bytes_of(std::string(300'000, 'x')))) == "io", "the mapping faults");
            }
            for (const std::size_t bytes : {0u, 8u, 300u})
                demand(code_of(to.append(full, bytes_of(std::string(bytes, 'x')))) == "io", "nothing goes on");
        });
        const auto to = stream.write();
        CHECK(content(stream, "full").size() == 1);
        CHECK(content(stream, "next") == texts{"good"});
    }
}

TEST_CASE("neither are refused reservations there, nor a refused batch") {
    for (const bool batch : {false, true}) {
        CAPTURE(batch);
        const dead_stream stream(1 << 20, 4096);
        stream.dies_after([&](writer& to) {
            must(install_fault_guard());
            const region where = must(to.allocate(600'000, "r"));
            must(to.append(where, bytes_of("good")));
            if (batch) {
                // Nothing is lost of it: what the file has in its place is zeros as well.
                const std::string zeros(300'000, '\0');
                const std::vector<std::span<const std::byte>> payloads = {bytes_of("one"), bytes_of(zeros)};
                const unreadable_end away(stream.file, 150'000);
                demand(code_of(to.append_batch(where, payloads)) == "io", "the mapping faults");
                return;
            }
            auto first = must(to.reserve(where, 8)), second = must(to.reserve(where, 300'000)),
                 third = must(to.reserve(where, 8));
            must(to.publish(std::move(second)));
            must(to.publish(std::move(third)));
            // All three are whole when the header of the third faults.
            const unreadable_end away(stream.file, 150'000);
            demand(code_of(to.publish(std::move(first))) == "io", "the mapping faults");
        });
        const auto to = stream.write();
        CHECK(to->recovery().entries_recovered == 0);
        CHECK(to->recovery().regions_cut == 0);
        CHECK(content(stream) == texts{"good"});
    }
}

}  // namespace
