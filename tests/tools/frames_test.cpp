// Frames: `dump --format frames A | pmemstream-write --frames B`, and frames that are none.
#include "tests/support/expect.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_numbers.hpp"
#include "tests/tools/process.hpp"

#include <pmemstream/writer.hpp>

#include <csignal>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

std::string number(std::uint64_t value, unsigned bytes = 4) {
    std::string text;
    for (unsigned i = 0; i < bytes; ++i)
        text += static_cast<char>(value >> (8 * i));
    return text;
}

std::string entry_frame(const std::string& region, const std::string& payload) {
    return "PMF1" + number(1) + number(region.size()) + number(payload.size()) + region + payload;
}

std::string region_frame(const std::string& region, std::uint64_t bytes) {
    return "PMF1" + number(2) + number(region.size()) + number(8) + region + number(bytes, 8);
}

std::string stream_frame(std::uint64_t bytes, std::uint64_t block) {
    return "PMF1" + number(3) + number(0) + number(16) + number(bytes, 8) + number(block, 8);
}

std::span<const std::byte> bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

ended rebuild(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& options = "") {
    return shell("set -o pipefail; $INSPECT dump --format frames " + options + " '" + from.string() +
                 "' | $WRITE --frames '" + to.string() + "'");
}

struct region_content {
    std::string name;
    std::uint64_t size_bytes;
    std::vector<std::string> entries;
    bool operator==(const region_content&) const = default;
};

std::vector<region_content> content_of(const std::filesystem::path& file) {
    std::vector<region_content> all;
    const auto reader = reader::open(file).value();
    const auto regions = reader.regions().value();
    for (const auto& info : regions) {
        region_content content{info.name, info.size_bytes, {}};
        auto cursor = must(reader.follow(info.handle, {.check_crc = true, .registered = false}));
        for (const entry& e : cursor)
            content.entries.emplace_back(reinterpret_cast<const char*>(e.payload().data()), e.payload().size());
        REQUIRE(cursor.status().has_value());
        all.push_back(std::move(content));
    }
    return all;
}

}  // namespace

TEST_CASE("a stream dumped as frames and written again has the same entries in the same regions") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    std::uint64_t compared = 0;
    for (unsigned round = 0; round < scaled(10); ++round) {
        const temp_dir dir;
        // The unnamed ones are called #2 and #4 where people see them.
        const std::vector<std::string> names{"main",      "",   "with space\n\x01",   "",   "empty",
                                             "r\xff\xfe", "#2", std::string(63, 'n'), "##4"};
        {
            REQUIRE(create(dir / "a", {.stream_bytes = 3 << 20, .block_bytes = std::uint64_t{64} << random() % 7}));
            const auto writer = must(writer::open(dir / "a"));
            std::vector<region> regions;
            for (const auto& name : names)
                regions.push_back(must(writer->allocate(1000 + random() % 400'000, name)));
            for (int i = 0; i < 300; ++i) {
                const std::size_t which = random() % names.size();
                if (names[which] == "empty")
                    continue;
                std::string payload(random() % 4 == 0 ? random() % 3 : random() % 900, '\0');
                for (char& c : payload)
                    c = static_cast<char>(random());
                if (random() % 10 == 0)
                    (void)writer->reserve(regions[which], 17);  // abandoned: a filler, which is no entry
                (void)writer->append(regions[which], bytes_of(payload));
            }
        }
        const auto got = rebuild(dir / "a", dir / "b");
        REQUIRE_MESSAGE(got.status() == 0, got.err);
        const auto original = content_of(dir / "a");
        REQUIRE(original.size() == names.size());
        CHECK(original == content_of(dir / "b"));
        CHECK(entries_of(dir / "a", std::nullopt) == entries_of(dir / "b", std::nullopt));
        compared += entries_of(dir / "a", std::nullopt).size();
        const auto info = reader::open(dir / "a")->info();
        CHECK(info.stream_bytes == reader::open(dir / "b")->info().stream_bytes);
        CHECK(info.block_bytes == reader::open(dir / "b")->info().block_bytes);
    }
    MESSAGE(compared << " entries compared");
    CHECK(compared >= scaled(10) * 100);
}

TEST_CASE("one region can be rebuilt alone") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "a", "--region-size", "8K"}, {.input = "1\n2\n"}).status() == 0);
    CHECK(run({write_tool, dir / "a", "-r", "other"}, {.input = "3\n"}).status() == 0);
    CHECK(rebuild(dir / "a", dir / "b", "--region other").status() == 0);
    CHECK(entries_of(dir / "b", "other") == std::vector<std::string>{"3"});
    CHECK(reader::open(dir / "b")->regions()->size() == 1);
}

TEST_CASE("an empty stream is rebuilt as one") {
    const temp_dir dir;
    REQUIRE(create(dir / "a", {.stream_bytes = 1 << 20}));
    CHECK(rebuild(dir / "a", dir / "b").status() == 0);
    CHECK(reader::open(dir / "b")->info().stream_bytes == 1 << 20);
    CHECK(reader::open(dir / "b")->regions()->empty());
}

TEST_CASE("frames without names go to --region, and need no stream or region frame") {
    const temp_dir dir;
    CHECK(run({write_tool, "--frames", dir / "s", "-r", "here"},
              {.input = entry_frame("", "a") + entry_frame("there", "b") + entry_frame("", "")})
              .status() == 0);
    CHECK(entries_of(dir / "s", "here") == std::vector<std::string>{"a", ""});
    CHECK(entries_of(dir / "s", "there") == std::vector<std::string>{"b"});
}

TEST_CASE("an unnamed region and one that is named like its label stay two") {
    const temp_dir dir;
    {
        REQUIRE(create(dir / "a", {.stream_bytes = 1 << 20}));
        const auto writer = must(writer::open(dir / "a"));
        const auto unnamed = must(writer->allocate(10'000));
        REQUIRE(unnamed.generation() == 1);
        const auto named = must(writer->allocate(20'000, "#1"));
        for (int i = 0; i < 3; ++i) {
            must(writer->append(unnamed, bytes_of("unnamed")));
            must(writer->append(named, bytes_of("named")));
        }
    }
    CHECK(rebuild(dir / "a", dir / "b").status() == 0);
    CHECK(content_of(dir / "a") == content_of(dir / "b"));
    CHECK(content_of(dir / "b")[0].entries == std::vector<std::string>(3, "unnamed"));
    CHECK(entries_of(dir / "b", "#1") == std::vector<std::string>(3, "named"));

    // An unnamed region alone, and what others of that input say of the same label.
    CHECK(rebuild(dir / "a", dir / "c", "--region '#1'").status() == 0);
    CHECK(content_of(dir / "c").size() == 1);
    CHECK(content_of(dir / "c")[0].name.empty());
    CHECK(rebuild(dir / "a", dir / "d", "--region '##1'").status() == 0);
    CHECK(entries_of(dir / "d", "#1") == std::vector<std::string>(3, "named"));
    // Labels hold within an input: the same frames once more make another region.
    CHECK(rebuild(dir / "a", dir / "c", "--region '#1'").status() == 0);
    CHECK(content_of(dir / "c").size() == 2);
}

TEST_CASE("the command line overrides what frames say of sizes") {
    const temp_dir dir;
    const auto input = stream_frame(1 << 20, 4096) + region_frame("main", 4096) + entry_frame("main", "x");
    CHECK(run({write_tool, "--frames", dir / "s", "--size", "2M", "--region-size", "64K", "--block-size", "64"},
              {.input = input})
              .status() == 0);
    const auto reader = reader::open(dir / "s").value();
    CHECK(reader.info().stream_bytes == 2 << 20);
    CHECK(reader.info().block_bytes == 64);
    CHECK(reader.describe(*reader.find("main"))->size_bytes >= 64 << 10);
}

TEST_CASE("a frame that is none is told with its offset, and what came before it is kept") {
    struct wrong {
        std::string frame;
        std::string told;
    };
    const std::string good = entry_frame("main", "good");
    const std::vector<wrong> all{
        {"just some text, not a frame", "no frame begins here"},
        {"PMF2" + number(1) + number(0) + number(0), "no frame begins here"},
        {"PMF1" + number(0) + number(0) + number(0), "unknown kind 0"},
        {"PMF1" + number(6) + number(0) + number(0), "unknown kind 6"},
        {"PMF1" + number(0x0100'0001) + number(0) + number(0), "unknown kind 16777217"},
        {"PMF1" + number(1) + number(64) + number(0), "a name of 64 bytes"},
        {"PMF1" + number(1) + number(0xffff'ffff) + number(0), "a name of 4294967295 bytes"},
        {"PMF1" + number(1) + number(0) + number(0xffff'ffff), "an entry of 4294967295 bytes"},
        {"PMF1" + number(2) + number(1) + number(7) + "r", "a body of 7 bytes"},
        {"PMF1" + number(4) + number(0) + number(0xffff'ffff), "an entry of 4294967295 bytes"},
        {"PMF1" + number(5) + number(1) + number(9) + "r", "a body of 9 bytes"},
        {"PMF1" + number(3) + number(1) + number(16) + "r", "a name of 1 bytes"},
        {entry_frame(std::string("a\0b", 3), "x"), "a zero byte"},
        {"P", "the input ends after 1 of 16 bytes of a frame's header"},
        {"PMF1" + number(1) + number(4), "the input ends after 12 of 16 bytes"},
        {"PMF1" + number(1) + number(4) + number(3) + "ma", "the input ends after 18 of 20 bytes"},
        {"PMF1" + number(1) + number(4) + number(3) + "mainab", "the input ends after 22 of 23 bytes"},
    };
    for (const auto& bad : all) {
        CAPTURE(bad.told);
        const temp_dir dir;
        const auto got = run({write_tool, "--frames", dir / "s", "--size", "1M"}, {.input = good + bad.frame});
        CHECK(got.status() == 7);
        CHECK(got.says("offset " + std::to_string(good.size())));
        CHECK_MESSAGE(got.says(bad.told), got.err);
        CHECK(got.says("1 entry"));
        CHECK(entries_of(dir / "s") == std::vector<std::string>{"good"});
        CHECK(reader::open(dir / "s")->info().clean);
    }
}

TEST_CASE("every cut of a sequence of frames is noticed") {
    const std::string whole = stream_frame(1 << 20, 4096) + region_frame("r", 4096) + entry_frame("r", "one") +
                              entry_frame("r", "") + entry_frame("q", "three");
    unsigned noticed = 0;
    unsigned boundaries = 0;
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
        const temp_dir dir;
        const auto got = run({write_tool, "--frames", dir / "s"}, {.input = whole.substr(0, cut)});
        if (got.status() == 7)
            ++noticed;
        else if (got.status() == 0)
            ++boundaries;
        else
            FAIL(got.err);
    }
    CHECK(boundaries == 6);  // before each of the five frames, and behind the last
    CHECK(noticed == whole.size() + 1 - boundaries);
}

TEST_CASE("an entry that is larger than its region is refused before its bytes are there") {
    const temp_dir dir;
    const auto got = run({write_tool, "--frames", dir / "s", "--size", "1M"},
                         {.input = "PMF1" + number(1) + number(0) + number(0xfff0'0000)});
    CHECK(got.status() == 5);
    CHECK(got.says("frame 1"));
}

TEST_CASE("a live stream is mirrored by tail -f and write --frames") {
    const temp_dir dir;
    running producer({write_tool, dir / "a", "--region-size", "100K"});
    running mirror({"bash", "-c", "\"$0\" tail -f --wait --from start --format frames \"$2\" | \"$1\" --frames \"$3\"",
                    inspect_tool, write_tool, dir / "a", dir / "b"});
    producer.send("one\n");
    const auto reader = [&] {
        for (;;)
            if (auto opened = reader::open(dir / "b"); opened && opened->find("main"))
                return *opened;
    }();
    auto cursor = reader.follow_all().value();
    std::uint64_t seen = 0;
    for (int i = 0; i < 50; ++i) {
        const auto got = cursor.wait().value();
        REQUIRE(got.has_value());
        ++seen;
        producer.send("again\n");
    }
    CHECK(seen == 50);
    CHECK(producer.wait().status() == 0);
    // A region that joins later is made in the mirror too.
    CHECK(run({write_tool, dir / "a", "-r", "late", "--region-size", "8K"}, {.input = "late\n"}).status() == 0);
    while (!reader.find("late") || entries_of(dir / "b", "late").empty())
        ;
    CHECK(entries_of(dir / "a", "late") == entries_of(dir / "b", "late"));
    CHECK(reader.describe(*reader.find("late"))->size_bytes == 12 * 1024 - region_overhead_bytes("late"));
}
