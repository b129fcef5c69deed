// One kind of damage after another, each by bytes in a real file: verify names it, and goes on with the rest.
#include "tests/corrupt/stream_image.hpp"
#include "tests/crash/dead_stream.hpp"
#include "tests/support/entry_crc.hpp"
#include "tests/tools/process.hpp"

#include "src/format/entry.hpp"
#include "src/format/validate.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

using namespace pmemstream;
using namespace pmemstream::test;
using format::entry_meta;
using nlohmann::json;

namespace {

/// Two closed regions, "a" and "b", with entries of 24 bytes that take turns.
struct two_regions : dead_stream {
    two_regions() {
        const auto to = write();
        const auto a = must(to->allocate(1000, "a"));
        const auto b = must(to->allocate(1000, "b"));
        for (int i = 0; i < 10; ++i)
            must(to->append(i % 2 == 0 ? a : b, bytes_of("payload")));
        const std::vector<std::span<const std::byte>> batch{bytes_of("first"), bytes_of("last")};
        must(to->append_batch(a, batch));
        must(to->close());
    }

    [[nodiscard]] std::uint64_t generation(std::uint32_t index) const {
        return peek<std::uint64_t>(file, slot(index)) >> 8;
    }

    /// Another header with a CRC that fits. Of `epoch`, only what the header has no room for counts.
    void forge(std::uint32_t index, std::uint64_t n, std::uint64_t meta, std::uint64_t epoch = 0) const {
        const std::uint64_t at = entry_at(index, n);
        auto header = peek<format::entry_header>(file, at);
        header.meta = meta;
        const auto image = read_image(file);
        const auto uuid = image_at<format::superblock>(image, 0).uuid;
        header.crc = test::expected_crc(image.data() + at, header.payload_bytes, epoch, meta, at,
                                        format::entry_crc_seed(uuid, generation(index)));
        poke(file, at, header);
    }
    [[nodiscard]] std::uint64_t meta(std::uint32_t index, std::uint64_t n) const {
        return peek<format::entry_header>(file, entry_at(index, n)).meta;
    }

    /// Another cold part with CRCs that fit, in slot and extent.
    template <class Change>
    void change_cold(std::uint32_t index, Change change) const {
        auto cold = peek<format::slot_cold>(file, slot(index));
        change(cold);
        cold.place_crc = format::place_crc(cold);
        cold.crc = format::cold_crc(cold, format::generation_of(cold.state));
        poke(file, slot(index), cold);
    }

    /// The kinds of the findings.
    [[nodiscard]] std::multiset<std::string> kinds(int status = 3) const {
        const auto got = run({inspect_tool, "verify", file, "--json"});
        CHECK_MESSAGE(got.status() == status, got.out << got.err);
        std::multiset<std::string> all;
        const auto report = json::parse(got.out);
        for (const auto& found : report["findings"]) {
            all.insert(found["kind"].get<std::string>());
            CHECK_FALSE(found["what"].get<std::string>().empty());
            CHECK_FALSE(found["next"].get<std::string>().empty());
        }
        const auto text = run({inspect_tool, "verify", file});
        CHECK(text.status() == status);
        for (const auto& kind : all)
            CHECK(text.out.find(kind + " at offset ") != std::string::npos);
        return all;
    }
};

using kinds = std::multiset<std::string>;

}  // namespace

namespace doctest {
template <>
struct StringMaker<kinds> {
    static String convert(const kinds& all) {
        std::string text;
        for (const auto& kind : all)
            text += kind + " ";
        return text.c_str();
    }
};
}  // namespace doctest

TEST_CASE("an undamaged stream has no findings") {
    CHECK(two_regions().kinds(0).empty());
}

TEST_CASE("metadata that is damaged is named") {
    const auto after = [](std::uint64_t offset) {
        const two_regions stream;
        flip(stream.file, offset, std::byte{0x10});  // all bits of "live" would make "clearing" of it
        return stream.kinds();
    };
    CHECK(after(70) == kinds{"superblock"});
    CHECK(after(format::first_segment_offset + 9) == kinds{"segment"});
    CHECK(after(format::first_segment_offset + 33) == kinds{"segment"});
    CHECK(after(two_regions::slot(0)) == kinds{"slot"});
    CHECK(after(two_regions::slot(1) + 70) == kinds{"slot"});
    CHECK(after(two_regions::commit_offset(0) + 6) == kinds{"offsets"});
    CHECK(after(two_regions::commit_offset(0)) == kinds{"clean_rule"});
    CHECK(after(two_regions::stream_sequence) == kinds{"header"});
    const two_regions stream;
    flip(stream.file, peek<std::uint64_t>(stream.file, two_regions::slot(1) + 8) + 40);
    CHECK(stream.kinds() == kinds{"extent"});
}

TEST_CASE("the clean rule, and a stream's size that cannot be") {
    {
        const two_regions stream;
        poke(stream.file, two_regions::commit_sequence(0), std::uint64_t{11});
        CHECK(stream.kinds() == kinds{"clean_rule", "sequences"});
    }
    const two_regions stream;
    poke(stream.file,
         format::header_offset + offsetof(format::shared_header, features) +
             offsetof(format::feature_line, stream_bytes),
         format::size_word(4096));
    CHECK(stream.kinds() == kinds{"header"});
}

TEST_CASE("two slots with one name, one generation, or one place") {
    {
        const two_regions stream;
        stream.change_cold(1, [](format::slot_cold& cold) { cold.name[0] = 'a'; });
        CHECK(stream.kinds() == kinds{"head", "name"});
    }
    {
        const two_regions stream;
        poke(stream.file, two_regions::slot(5), format::state_word(2, format::slot_state::free));
        CHECK(stream.kinds() == kinds{"generation"});
    }
    const two_regions stream;
    stream.change_cold(0, [](format::slot_cold& cold) { cold.extent_bytes += 64; });
    const auto found = stream.kinds();
    CHECK(found.count("overlap") == 1);
    CHECK(found.count("extent") == 1);
}

TEST_CASE("entries whose CRCs fit, but not their sequences, epochs or batches") {
    const auto after = [](std::uint32_t index, std::uint64_t n, auto change) {
        const two_regions stream;
        stream.forge(index, n, change(stream.meta(index, n)));
        return stream.kinds();
    };
    const auto at = [](std::uint64_t sequence) {
        return [sequence](std::uint64_t meta) { return (meta & ~entry_meta::sequence_mask) | sequence; };
    };
    CHECK(after(1, 2, at(5)) == kinds{"sequences"});  // that of an entry of the other region
    CHECK(after(1, 2, at(1)) == kinds{"entry"});      // falls
    CHECK(after(1, 4, at(100)) == kinds{"sequences", "sequences", "sequences"});
    CHECK(after(1, 2, [](std::uint64_t meta) { return meta | entry_meta::epoch_bits(2); }) ==
          kinds{"entry"});  // of a writer that never was

    CHECK(after(0, 6, [](std::uint64_t meta) { return meta | entry_meta::more_bit; }) == kinds{"batch", "batch"});
    CHECK(after(0, 6, [](std::uint64_t meta) {
              return (meta & ~entry_meta::sequence_mask) | entry_meta::system_bit;
          }) == kinds{"batch"});
}

TEST_CASE("bytes between a payload and the next entry") {
    const two_regions stream;
    flip(stream.file, stream.entry_at(0, 2) + 23);
    CHECK(stream.kinds() == kinds{"padding"});
}

TEST_CASE("a persisted offset where no entry begins") {
    const two_regions stream;
    // Not closed, so that it need not be the commit offset.
    poke(stream.file, two_regions::identity, format::epoch_word(2));
    poke(stream.file, two_regions::persisted_offset(0), format::persisted_word(stream.entry_at(0, 3) + 8, 1));
    CHECK(stream.kinds() == kinds{"offsets"});
    poke(stream.file, two_regions::persisted_offset(0), format::persisted_word(stream.entry_at(0, 6), 1));
    CHECK(stream.kinds().count("batch") == 1);
}

TEST_CASE("damage in the midst of a region is told once, with what follows it") {
    const two_regions stream;
    poke(stream.file, stream.entry_at(0, 1), std::array<std::byte, 24 * 3>{});
    const auto got = json::parse(run({inspect_tool, "verify", stream.file, "--json"}).out);
    REQUIRE(got["findings"].size() == 1);
    CHECK(got["findings"][0]["offset"] == stream.entry_at(0, 1));
    CHECK(got["findings"][0]["what"].get<std::string>().find(std::to_string(stream.entry_at(0, 4))) !=
          std::string::npos);
    CHECK(got["regions"][0]["entries"] == 4);
    CHECK(got["regions"][1]["entries"] == 5);
}

TEST_CASE("nothing in a file makes verify fall over") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const temp_dir dir;
    make_small_stream(dir / "original");
    const auto original = read_image(dir / "original");
    unsigned corrupt = 0, refused = 0;
    for (unsigned round = 0; round < scaled(300); ++round) {
        auto image = original;
        const std::size_t hits = 1 + random() % 30;
        for (std::size_t i = 0; i < hits; ++i) {
            // Words, so that CRC-less fields get whole lies; many where the metadata is.
            const std::size_t at = random() % 2 == 0 ? random() % 1000 * 8 : random() % (image.size() / 8) * 8;
            const std::uint64_t lie = random() % 3 == 0 ? random() : random() % image.size();
            std::memcpy(image.data() + at, &lie, sizeof lie);
        }
        write_image(dir / "s", image);
        const auto got = run({inspect_tool, "verify", dir / "s", "--json"});
        CAPTURE(round);
        CHECK_FALSE(got.signalled);
        CHECK((got.code == 0 || got.code == 2 || got.code == 3));
        corrupt += got.code == 3;
        refused += got.code == 2;
        if (got.code != 2)
            CHECK(json::parse(got.out).contains("verdict"));
    }
    MESSAGE(corrupt << " corrupt, " << refused << " refused");
    CHECK(corrupt > scaled(300) / 4);
}
