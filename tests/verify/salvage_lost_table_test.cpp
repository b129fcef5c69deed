// A salvage never says that all came over where a part of the region table is lost and nothing tells what it named.
#include "tests/crash/dead_stream.hpp"
#include "tests/verify/salvaged.hpp"

#include <filesystem>
#include <string>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr std::uint64_t stream_bytes = 256 << 10;
constexpr std::uint64_t data_offset = 7936;  // in blocks of 64

void fill(const small_stream& stream, std::size_t regions) {
    const auto to = stream.write();
    for (std::size_t i = 0; i < regions; ++i) {
        const auto where = must(to->allocate(4000, "r" + std::to_string(i)));
        for (int n = 0; n < 50; ++n)
            must(to->append(where, bytes_of("entry")));
    }
}

void wipe(const std::filesystem::path& file, std::uint64_t begin, std::uint64_t end) {
    auto image = read_text(file);
    image.replace(begin, end - begin, end - begin, '\0');
    write_text(file, image);
}

bool says_nothing_tells(const salvaged& got) {
    return std::ranges::any_of(got.report["notes"], [](const auto& note) {
        return note.template get<std::string>().starts_with("nothing tells which regions");
    });
}

}  // namespace

TEST_CASE("a file cut off in its header, its table or before its first extent is never complete") {
    for (const std::uint64_t bytes :
         {512u, 4096u, 4700u, 4736u, 4800u, 4864u, 5100u, 5247u, 5248u, 5700u, 7936u, 8000u}) {
        CAPTURE(bytes);
        const small_stream stream(stream_bytes);
        fill(stream, 2);
        std::filesystem::resize_file(stream.file, bytes);
        const auto got = salvage(stream.file, 3);
        CHECK(got.entries.empty());
        if (bytes < 5632) {
            CHECK(got.report["table_whole"] == false);
            CHECK(says_nothing_tells(got));
        }
    }
    const small_stream stream(stream_bytes);
    fill(stream, 1);
    std::filesystem::resize_file(stream.file, 1000);
    const auto text = run({inspect_tool, "salvage", stream.file, stream.dir / "out"});
    CHECK(text.status() == 3);
    CHECK(text.out.find("0 entries in ") != std::string::npos);
    CHECK(text.out.find("; nothing tells whether all came over") != std::string::npos);
}

TEST_CASE("nor is an empty stream that is cut off in its table, but behind its last used slot it is") {
    for (const std::size_t regions : {0u, 1u})
        for (const std::uint64_t bytes : {600u, 4700u, 5000u}) {
            CAPTURE(bytes);
            const small_stream stream(stream_bytes);
            {
                const auto to = stream.write();
                if (regions > 0)
                    (void)must(to->allocate(4000, "empty"));
            }
            std::filesystem::resize_file(stream.file, bytes);
            CHECK_FALSE(salvage(stream.file, 3).report["complete"]);
        }
    const small_stream stream(stream_bytes);
    {
        const auto to = stream.write();
        (void)must(to->allocate(4000, "empty"));
    }
    // Slots are taken in order, and the second is empty: no region is lost, only its head.
    std::filesystem::resize_file(stream.file, 5700);
    const auto got = salvage(stream.file, 3);
    CHECK(got.regions.size() == 1);
    CHECK(got.report["table_whole"] == true);
    CHECK(got.report["regions"][0]["left_bytes"] == region_overhead_bytes("empty") - sizeof(format::extent_header));
}

TEST_CASE("an empty stream that is whole is complete: never opened, opened, in use, copied, emptied") {
    const auto comes_over = [](const small_stream& stream) {
        const auto got = salvage(stream.file, 0);
        CHECK(got.entries.empty());
        CHECK(got.report["table_whole"] == true);
        return got.regions.size();
    };
    const small_stream stream(stream_bytes);
    CHECK(comes_over(stream) == 0);
    {
        const auto to = stream.write();
        CHECK(comes_over(stream) == 0);
        const auto where = must(to->allocate(4000, "a"));
        CHECK(comes_over(stream) == 1);
        must(to->append(where, bytes_of("entry")));
        std::filesystem::copy_file(stream.file, stream.dir / "copy");
        CHECK(salvage(stream.dir / "copy", 0).entries.size() == 1);
        CHECK(must(to->clear(where)) != where);
        CHECK(comes_over(stream) == 1);
        must(to->free(must(to->find("a"))));
        CHECK(comes_over(stream) == 0);
    }
    CHECK(comes_over(stream) == 0);
}

TEST_CASE("a wiped table and a wiped extent header leave entries of which nothing tells") {
    const std::uint64_t first_slot = format::first_slots_offset;
    SUBCASE("the only one of the stream") {
        for (const std::uint64_t from :
             {std::uint64_t{512}, format::header_offset, format::first_segment_offset, first_slot}) {
            CAPTURE(from);
            const small_stream stream(stream_bytes);
            fill(stream, 1);
            wipe(stream.file, from, data_offset + 64);
            const auto got = salvage(stream.file, 3);
            CHECK(got.entries.empty());
            CHECK(got.report["table_whole"] == false);
            CHECK(says_nothing_tells(got));
        }
    }
    SUBCASE("the first, the middle, or the last of three") {
        for (const std::uint64_t lost : {0u, 1u, 2u})
            for (const bool whole_table : {false, true}) {
                CAPTURE(lost);
                CAPTURE(whole_table);
                const small_stream stream(stream_bytes);
                fill(stream, 3);
                const auto extent = to_uint(must(stream.read().regions())[lost].extent);
                wipe(stream.file, extent, extent + 64);
                if (whole_table)
                    wipe(stream.file, format::first_segment_offset, data_offset);
                else
                    wipe(stream.file, first_slot, first_slot + 3 * sizeof(format::region_slot));
                const auto got = salvage(stream.file, 3);
                CHECK(got.entries.size() == 100);
                CHECK(says_nothing_tells(got));
            }
    }
}

TEST_CASE("where all entries that the header counts came over, a lost table has cost nothing but names") {
    for (const std::size_t regions : {1u, 3u}) {
        const small_stream stream(stream_bytes);
        fill(stream, regions);
        const auto entries = entries_in_order(stream.file);
        wipe(stream.file, format::first_segment_offset, data_offset);
        const auto got = salvage(stream.file, 0);
        CHECK(got.entries.size() == entries.size());
        CHECK(got.report["table_whole"] == false);
        CHECK_FALSE(says_nothing_tells(got));
        // Without that count, nothing tells what more there was.
        wipe(stream.file, format::header_offset, format::first_segment_offset);
        const auto unsure = salvage(stream.file, 3);
        CHECK(unsure.entries.size() == entries.size());
        CHECK(says_nothing_tells(unsure));
    }
}

TEST_CASE("generations that were cleared or freed are not missed where every slot can be read or matched") {
    const small_stream stream(stream_bytes);
    fill(stream, 3);
    {
        const auto to = stream.write();
        (void)must(to->clear(must(to->find("r1"))));
        must(to->free(must(to->find("r2"))));
        must(to->append(must(to->allocate(4000, "again")), bytes_of("entry")));
    }
    flip(stream.file, format::first_segment_offset + 12);
    const auto first_alone = salvage(stream.file, 0);
    CHECK(first_alone.entries.size() == 51);
    CHECK(first_alone.report["table_whole"] == false);
    flip(stream.file, format::first_slots_offset + 60);
    CHECK(salvage(stream.file, 0).entries.size() == 51);
}

TEST_CASE("a second table segment behind the end of the file is missed, also where it named empty regions") {
    const small_stream stream(stream_bytes);
    {
        const auto to = stream.write();
        std::vector<region> regions;
        for (int i = 0; i < 20; ++i)
            regions.push_back(must(to->allocate(200, "r" + std::to_string(i))));
        must(to->append(regions.front(), bytes_of("entry")));
    }
    const auto image = read_text(stream.file);
    const auto segment =
        peek<std::uint64_t>(stream.file, format::first_segment_offset + offsetof(format::segment_header, next)) &
        ~format::segment_link_mask;
    const auto slots = segment + sizeof(format::segment_header);
    CHECK(salvage(stream.file, 0).regions.size() == 20);
    for (const auto bytes : {segment - 64, segment, segment + 64, slots, slots + sizeof(format::region_slot)}) {
        CAPTURE(bytes);
        std::filesystem::resize_file(stream.file, bytes);
        CHECK(salvage(stream.file, 3).report["table_whole"] == false);
        write_text(stream.file, image);
    }
    // All that were used are there; what lay behind them, heads alone, is not.
    std::filesystem::resize_file(stream.file, slots + 13 * sizeof(format::region_slot));
    const auto got = salvage(stream.file, 3);
    CHECK(got.regions.size() == 20);
    CHECK(got.report["table_whole"] == true);
}
