// What a salvage brings over from streams that are damaged in every part, entry by entry.
#include "tests/crash/dead_stream.hpp"
#include "tests/verify/salvaged.hpp"

#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

using ranges = std::set<std::pair<std::uint64_t, std::uint64_t>>;

/// The small stream of the corruption tests, and what is in it.
struct sample {
    temp_dir dir;
    std::filesystem::path file = dir / "s";
    std::vector<kept_entry> entries;
    std::vector<region_info> regions;
    std::vector<piece> pieces;

    sample() {
        make_small_stream(file);
        entries = entries_in_order(file);
        regions = dump_merged(file).regions;
        pieces = pieces_of(read_file(file));
    }
    void wipe(std::uint64_t begin, std::uint64_t end, char with = '\0') const {
        auto image = read_text(file);
        std::fill(image.begin() + static_cast<std::ptrdiff_t>(begin), image.begin() + static_cast<std::ptrdiff_t>(end),
                  with);
        write_text(file, image);
    }
    /// Without those of regions that the stream did not have any more.
    [[nodiscard]] std::vector<kept_entry> without_freed(std::vector<kept_entry> all) const {
        std::erase_if(all, [this](const kept_entry& e) {
            return std::ranges::find(regions, e.region, &region_info::name) == regions.end();
        });
        return all;
    }
    [[nodiscard]] const region_info& region_named(const std::string& name) const {
        return *std::ranges::find(regions, name, &region_info::name);
    }
};

constexpr std::uint64_t slot_at(std::uint32_t index) {
    return format::first_slots_offset + index * sizeof(format::region_slot);
}

}  // namespace

TEST_CASE("one flipped byte in a payload or a header costs that entry, or its batch, and no other") {
    const sample stream;
    unsigned tried = 0, in_batch = 0;
    const std::uint64_t large = to_uint(stream.region_named("large").begin);
    for (const auto& p : stream.pieces) {
        if (p.structure != "entry header" && p.structure != "entry_header" && p.structure != "entry payload")
            continue;
        const std::uint64_t at = p.begin + (p.end - p.begin) / 2;
        flip(stream.file, at);
        const bool filler_header = std::ranges::none_of(stream.entries, [&](const kept_entry& e) {
            return at >= e.offset && at < e.offset + 16 + e.payload.size();
        });
        const auto got = salvage(stream.file, 3);
        flip(stream.file, at);
        CAPTURE(p.structure);
        CAPTURE(at);
        const auto expected = without(stream.entries, got.left());
        CHECK(got.entries == expected);
        const std::size_t lost = stream.entries.size() - expected.size();
        // Three entries are a batch in "large".
        in_batch += lost == 3;
        if (filler_header)
            CHECK(lost == 0);
        else
            CHECK((lost == 1 || (lost <= 3 && at > large)));
        ++tried;
    }
    MESSAGE(tried << " entries damaged, " << in_batch << " of them in a batch");
    CHECK(tried > 70);
    CHECK(in_batch >= 3);
}

TEST_CASE("an entry behind a damaged batch is not taken for its end") {
    const dead_stream stream;
    {
        const auto to = stream.write();
        const auto a = must(to->allocate(4000, "a"));
        const std::vector<std::span<const std::byte>> batch{bytes_of("one"), bytes_of("two"), bytes_of("three")};
        must(to->append(a, bytes_of("before")));
        must(to->append_batch(a, batch));
        must(to->append(a, bytes_of("after")));
        must(to->append_batch(a, batch));
        must(to->append(a, bytes_of("end")));
    }
    const auto texts = [&] {
        std::string all;
        for (const auto& e : salvage(stream.file, 3).entries)
            all += std::string(reinterpret_cast<const char*>(e.payload.data()), e.payload.size()) + " ";
        return all;
    };
    const auto damaged = [&](std::uint64_t n, std::uint64_t byte) {
        flip(stream.file, stream.entry_at(0, n) + byte);
        const auto all = texts();
        flip(stream.file, stream.entry_at(0, n) + byte);
        return all;
    };
    for (const std::uint64_t byte : {16u, 4u})  // payload, CRC: the rest of the header can be believed
        for (const std::uint64_t n : {1u, 2u, 3u}) {
            CAPTURE(n);
            CHECK(damaged(n, byte) == "before after one two three end ");
        }
    // The size, or the sequence, of one in the middle: the batch goes, up to its end.
    CHECK(damaged(2, 1) == "before after one two three end ");
    CHECK(damaged(0, 16) == "one two three after one two three end ");
    CHECK(damaged(4, 0) == "before one two three one two three end ");
}

TEST_CASE("without the first table segment's header or with a wiped slot, regions are found by their extents") {
    const sample stream;
    const auto image = read_file(stream.file);
    const auto repair = [&] { scratch_file(stream.file, image).reset(image); };
    SUBCASE("a damaged segment header alone: the slots speak for themselves") {
        flip(stream.file, format::first_segment_offset + 12);
        const auto got = salvage(stream.file, 0);
        CHECK(got.entries == stream.entries);
        CHECK(got.report["table_whole"] == false);
    }
    SUBCASE("every slot wiped in turn, with zeros or with ones") {
        for (const char with : {'\0', '\xff'})
            for (const std::uint32_t slot : {0u, 1u, 4u, 6u, 7u}) {
                CAPTURE(slot);
                stream.wipe(slot_at(slot), slot_at(slot + 1), with);
                const auto got = salvage(stream.file, 0);
                CHECK(got.entries == stream.entries);  // its head knows its name
                CHECK(got.report["table_whole"] == false);
                repair();
            }
    }
    SUBCASE("a slot in which a bit flipped is matched to its extent") {
        for (const std::uint64_t byte : {0u, 3u, 8u, 24u, 60u}) {
            CAPTURE(byte);
            flip(stream.file, slot_at(5) + byte, std::byte{0x40});
            const auto got = salvage(stream.file, 0);
            CHECK(got.entries.size() == stream.entries.size());
            repair();
        }
    }
    SUBCASE("the whole first segment") {
        for (const char with : {'\0', '\x5a'}) {
            stream.wipe(format::first_segment_offset, slot_at(8), with);
            const auto got = salvage(stream.file, 0);
            CHECK(got.entries.size() >= stream.entries.size());
            CHECK(stream.entries == stream.without_freed(got.entries));
            repair();
        }
    }
    SUBCASE("the link to the second segment") {
        poke(stream.file, format::first_segment_offset + 32, std::uint64_t{0x1234});
        CHECK(salvage(stream.file, 0).entries == stream.entries);
    }
}

TEST_CASE("a freed region stays away, also where its blocks were not used again") {
    const sample stream;
    const auto got = salvage(stream.file, 0);
    for (const auto& r : got.regions)
        CHECK(r.name != "region 3");
    for (const auto& r : got.report["regions"])
        CHECK(r["generation"] != 4);
}

TEST_CASE("without a superblock, or the whole first page") {
    const sample stream;
    SUBCASE("zeros") {
        stream.wipe(0, 512);
    }
    SUBCASE("text") {
        stream.wipe(0, 512, 'x');
    }
    const auto got = salvage(stream.file, 0);
    CHECK(got.report["superblock_whole"] == false);
    CHECK(got.report["table_whole"] == true);
    CHECK(got.report["block_bytes"] == 64);
    CHECK(got.entries == stream.entries);

    stream.wipe(0, slot_at(4));
    const auto less = salvage(stream.file, 0);
    CHECK(less.entries.size() >= stream.entries.size());
    CHECK(less.report["table_whole"] == false);
    CHECK(stream.without_freed(less.entries) == stream.entries);
}

TEST_CASE("an extent header that is damaged, and one whose slot is too") {
    const sample stream;
    const std::uint64_t extent = to_uint(stream.region_named("large").extent);
    flip(stream.file, extent + 30);
    CHECK(salvage(stream.file, 0).entries == stream.entries);
}

TEST_CASE("what is left of a truncated file") {
    const sample stream;
    const std::uint64_t size = std::filesystem::file_size(stream.file);
    unsigned cut = 0;
    for (std::uint64_t bytes = 8200; bytes < size; bytes += 8 * 61) {
        const auto image = read_text(stream.file);
        write_text(stream.file, image.substr(0, bytes));
        CAPTURE(bytes);
        std::vector<kept_entry> expected = stream.entries;
        std::erase_if(expected, [&](const kept_entry& e) { return e.offset + 16 + e.payload.size() > bytes; });
        const bool whole = expected.size() == stream.entries.size();
        const bool table = bytes > to_uint(stream.region_named("large").extent);
        const auto status = run({inspect_tool, "salvage", stream.file, stream.dir / "out"}).status();
        std::filesystem::remove(stream.dir / "out");
        CHECK((status == 0 || status == 3));
        if (!whole || !table)
            CHECK(status == 3);
        const auto got = salvage(stream.file, status);
        // Where the second table segment is gone, so are names; what was an incomplete batch is left out.
        std::size_t found = 0;
        for (const auto& e : expected)
            found +=
                std::ranges::count_if(got.entries, [&](const kept_entry& k) { return k.payload == e.payload; }) > 0;
        CHECK(found + 3 >= expected.size());
        cut += !whole;
        write_text(stream.file, image);
    }
    MESSAGE(cut << " cuts through entries");
    CHECK(cut > 10);
}

TEST_CASE("a stretch in the middle that is overwritten costs what lies in it") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const small_stream stream(1 << 20, 4096);
    {
        const auto to = stream.write();
        const auto a = must(to->allocate(400'000, "a"));
        const auto b = must(to->allocate(400'000, "b"));
        std::vector<std::byte> payload(300);
        for (int i = 0; i < 3000; ++i) {
            for (auto& byte : payload)
                byte = static_cast<std::byte>(random());
            must(to->append(i % 3 == 0 ? a : b, std::span(payload).first(random() % payload.size())));
        }
    }
    const auto original = entries_in_order(stream.file);
    const auto image = read_text(stream.file);
    std::uint64_t lost_bytes = 0;
    for (unsigned round = 0; round < scaled(20); ++round) {
        CAPTURE(round);
        auto damaged = image;
        const auto& victim = original[random() % (original.size() - 100)];
        const std::uint64_t begin = victim.offset + random() % 16;
        const std::uint64_t end = std::min<std::uint64_t>(begin + 1 + random() % 9000, image.size());
        for (std::uint64_t i = begin; i < end; ++i)
            damaged[i] = round % 3 == 0 ? '\0' : round % 3 == 1 ? '7' : static_cast<char>(random());
        write_text(stream.file, damaged);
        const auto got = salvage(stream.file, 3);
        auto expected = original;
        std::erase_if(expected,
                      [&](const kept_entry& e) { return e.offset < end && e.offset + 16 + e.payload.size() > begin; });
        CHECK(got.entries.size() == expected.size());
        CHECK(got.entries == expected);
        for (const auto& [from, to] : got.left())
            lost_bytes += to - from;
    }
    MESSAGE(lost_bytes << " bytes left in all");
    CHECK(lost_bytes > 0);
}

TEST_CASE("with the table gone, blocks that two generations claim are the younger one's") {
    const dead_stream stream;
    std::vector<kept_entry> young;
    {
        const auto to = stream.write();
        const auto old = must(to->allocate(8000, "old"));
        for (int i = 0; i < 300; ++i)
            must(to->append(old, bytes_of("old")));
        must(to->free(old));
        const auto first = must(to->allocate(2000, "first"));
        const auto second = must(to->allocate(2000, "second"));
        for (int i = 0; i < 20; ++i)
            must(to->append(i % 2 == 0 ? first : second, bytes_of("young")));
    }
    CHECK(salvage(stream.file, 0).entries.size() == 20);
    const auto both = must(stream.read().regions());
    const ranges tails{{stream.entry_at(0, 10), to_uint(both[1].extent)},
                       {stream.entry_at(1, 10), to_uint(both[1].extent) + both[1].extent_bytes}};
    poke(stream.file, format::first_segment_offset, std::array<std::byte, 3200>{});
    // Its header is overwritten by the first of the two, so nothing names the old one any more; nor does anything tell its
    // remains behind the last young entries from damaged ones.
    const auto got = salvage(stream.file, 3);
    CHECK(got.entries.size() == 20);
    CHECK(got.regions.size() == 2);
    CHECK(got.left() == tails);
}

TEST_CASE("with the table gone, what an older generation has in blocks of its own comes over as well") {
    const dead_stream stream;
    std::uint64_t young_end = 0;
    std::size_t old_behind = 0;
    {
        const auto to = stream.write();
        const auto first = must(to->allocate(2000, "first"));
        const auto old = must(to->allocate(8000, "old"));
        const std::uint64_t old_begin = to_uint(must(to->describe(old)).begin);
        for (int i = 0; i < 300; ++i)
            must(to->append(old, bytes_of("old")));
        must(to->free(first));
        must(to->free(old));
        // Over the first and the begin of the old one, whose header and first entries it does not overwrite.
        const auto young = must(to->allocate(4000, "young"));
        const auto info = must(to->describe(young));
        young_end = to_uint(info.extent) + info.extent_bytes;
        REQUIRE(young_end > old_begin + 24);
        for (int i = 0; i < 300; ++i)
            old_behind += old_begin + 24 * static_cast<std::uint64_t>(i) >= young_end;
        for (int i = 0; i < 20; ++i)
            must(to->append(young, bytes_of("young")));
    }
    REQUIRE(old_behind > 0);
    REQUIRE(old_behind < 300);
    CHECK(salvage(stream.file, 0).entries.size() == 20);
    poke(stream.file, format::first_segment_offset, std::array<std::byte, 3200>{});
    // The younger one's tail holds remains that do not verify for it, and nothing tells where it ended; nor what the first
    // generation was, of which nothing is left.
    const auto got = salvage(stream.file, 3);
    CHECK(got.left().empty());
    CHECK(got.entries.size() == 20 + old_behind);
    CHECK(got.regions.size() == 2);
    for (const auto& e : got.entries)
        CHECK((e.region == "old" || e.region == "young" || e.region == "salvaged-2"));
}

TEST_CASE("nothing in a file makes salvage fall over, and what it makes is a stream") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const sample stream;
    const auto original = read_image(stream.file);
    unsigned salvaged_streams = 0;
    for (unsigned round = 0; round < scaled(150); ++round) {
        auto image = original;
        const std::size_t hits = 1 + random() % 40;
        for (std::size_t i = 0; i < hits; ++i) {
            const std::size_t at = random() % 2 == 0 ? random() % 1000 * 8 : random() % (image.size() / 8) * 8;
            const std::uint64_t lie = random() % 3 == 0 ? random() : random() % image.size();
            std::memcpy(image.data() + at, &lie, sizeof lie);
        }
        write_image(stream.file, image);
        const auto out = stream.dir / "out";
        const auto got = run({inspect_tool, "salvage", stream.file, out});
        CAPTURE(round);
        CHECK_FALSE(got.signalled);
        CHECK_MESSAGE((got.code == 0 || got.code == 2 || got.code == 3), got.err);
        if (got.code != 0 && got.code != 3)
            continue;
        ++salvaged_streams;
        CHECK(run({inspect_tool, "verify", out}).status() == 0);
        for (const auto& e : entries_in_order(out))
            CHECK(std::ranges::any_of(stream.entries, [&](const kept_entry& k) { return k.payload == e.payload; }));
        std::filesystem::remove(out);
    }
    MESSAGE(salvaged_streams << " salvaged");
    CHECK(salvaged_streams > scaled(150) / 2);
}
