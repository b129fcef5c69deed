// What is no stream, and what is a damaged one.
#include "src/format/layout.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_numbers.hpp"
#include "tests/tools/process.hpp"

#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

const std::vector<std::string> commands{"info", "regions", "dump", "tail", "readers"};

}  // namespace

TEST_CASE("what is no stream is refused with status 2 by both tools, and not changed") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "whole", "--size", "1M"}, {.input = "one\ntwo\n"}).status() == 0);
    const std::string whole = read_text(dir / "whole");
    std::string newer = whole;
    newer[8] = 99;  // the format version: the CRC no longer fits either
    std::filesystem::create_directory(dir / "directory");
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    write_text(dir / "empty", "");
    write_text(dir / "zeros", std::string(1 << 20, '\0'));
    write_text(dir / "text", numbered_lines(10'000));
    write_text(dir / "short", "x");
    write_text(dir / "superblock alone", whole.substr(0, 512));
    write_text(dir / "half", whole.substr(0, whole.size() / 2));
    write_text(dir / "one byte short", whole.substr(0, whole.size() - 1));
    for (const std::string name :
         {"directory", "fifo", "empty", "zeros", "text", "short", "superblock alone", "half", "one byte short"}) {
        CAPTURE(name);
        const bool regular = std::filesystem::is_regular_file(dir / name);
        const std::string before = regular ? read_text(dir / name) : std::string();
        for (const auto& command : commands) {
            CAPTURE(command);
            const auto got = run({inspect_tool, command, dir / name});
            CHECK_MESSAGE(got.status() == 2, got.err);
            CHECK(got.out.empty());
            CHECK(got.says(name));
        }
        const auto got = run({write_tool, dir / name}, {.input = "x\n"});
        CHECK_MESSAGE(got.status() == 2, got.err);
        if (regular)
            CHECK(read_text(dir / name) == before);
    }
}

TEST_CASE("a damaged superblock or another version is refused, and the file not changed") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s", "--size", "1M"}, {.input = "one\n"}).status() == 0);
    flip(dir / "s", 100);
    const std::string before = read_text(dir / "s");
    for (const auto& command : commands)
        CHECK(run({inspect_tool, command, dir / "s"}).status() == 3);
    CHECK(run({write_tool, dir / "s"}, {.input = "x\n"}).status() == 3);
    CHECK(read_text(dir / "s") == before);
}

TEST_CASE("where only the magic is damaged, salvage is advised, and brings everything over") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s", "--size", "1M"}, {.input = "one\ntwo\n"}).status() == 0);
    const std::string advice = "no magic at offset 0; if it was one, pmemstream-inspect salvage finds what is whole";
    flip(dir / "s", 3);
    for (const std::string command : {"info", "regions", "dump", "tail", "readers", "verify"}) {
        CAPTURE(command);
        const auto got = run({inspect_tool, command, dir / "s"});
        CHECK(got.status() == 2);
        CHECK(got.says(advice));
    }
    const auto got = run({write_tool, dir / "s"}, {.input = "x\n"});
    CHECK(got.status() == 2);
    CHECK(got.says(advice));
    CHECK(run({inspect_tool, "salvage", dir / "s", dir / "out"}).status() == 0);
    CHECK(run({inspect_tool, "dump", dir / "out"}).out == "one\ntwo\n");

    write_text(dir / "empty", "");
    write_text(dir / "zeros", std::string(1 << 20, '\0'));
    for (const std::string name : {"empty", "zeros"}) {
        CHECK_FALSE(run({inspect_tool, "dump", dir / name}).says("salvage"));
        CHECK_FALSE(run({write_tool, dir / name}, {.input = "x\n"}).says("salvage"));
    }
}

TEST_CASE("a file that is missing, or may not be read, gives status 4") {
    const temp_dir dir;
    for (const auto& command : commands) {
        const auto got = run({inspect_tool, command, dir / "none"});
        CHECK(got.status() == 4);
        CHECK(got.says("No such file"));
    }
    CHECK_FALSE(std::filesystem::exists(dir / "none"));
}

TEST_CASE("a damaged entry ends a dump with status 3, after everything before it") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const temp_dir dir;
    const std::uint64_t lines = 500;
    CHECK(run({write_tool, dir / "original", "--size", "1M", "-r", "r", "--region-size", "100K"},
              {.input = numbered_lines(lines)})
              .status() == 0);
    std::vector<offset> entries;
    {
        const auto reader = reader::open(dir / "original").value();
        auto cursor = reader.follow(*reader.find("r")).value();
        for (const entry& e : cursor)
            entries.push_back(e.offset());
        REQUIRE(entries.size() == lines);
    }
    unsigned found = 0;
    for (unsigned round = 0; round < scaled(60); ++round) {
        const std::size_t victim = random() % lines;
        // A bit of its header or of its payload.
        const std::uint64_t at = to_uint(entries[victim]) + random() % 17;
        CAPTURE(victim);
        CAPTURE(at);
        std::filesystem::copy_file(dir / "original", dir / "s", std::filesystem::copy_options::overwrite_existing);
        flip(dir / "s", at, std::byte{static_cast<unsigned char>(1u << random() % 8)});
        const words one{inspect_tool, "dump", dir / "s", "-r", "r"};
        const words all{inspect_tool, "dump", dir / "s"};
        for (const auto& command : {one, all}) {
            const auto got = run(command);
            CHECK(got.status() == 3);
            CHECK(got.out == numbered_lines(victim));
            CHECK(got.says("region \"r\" (slot 0): damaged at offset " + std::to_string(to_uint(entries[victim]))));
            CHECK(got.says("pmemstream-inspect salvage"));
        }
        // Whoever begins behind it does not meet it; whoever follows does.
        if (victim + 1 < lines)
            CHECK(run({inspect_tool, "dump", dir / "s", "-r", "r", "--from",
                       std::to_string(to_uint(entries[victim + 1]))})
                      .out.size() == numbered_lines(lines).size() - numbered_lines(victim + 1).size());
        CHECK(run({inspect_tool, "tail", "-f", "--from", "start", dir / "s"}).status() == 3);
        ++found;
    }
    CHECK(found == scaled(60));
}

TEST_CASE("metadata that lies never crashes the tools") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const temp_dir dir;
    CHECK(run({write_tool, dir / "original", "--size", "256K", "--region-size", "20K"}, {.input = numbered_lines(50)})
              .status() == 0);
    CHECK(run({write_tool, dir / "original", "-r", "other"}, {.input = numbered_lines(50)}).status() == 0);
    const auto original = read_image(dir / "original");
    unsigned refused = 0;
    unsigned fine = 0;
    for (unsigned round = 0; round < scaled(100); ++round) {
        auto image = original;
        const std::size_t hits = 1 + random() % 4;
        for (std::size_t i = 0; i < hits; ++i)
            image[random() % 9000] = static_cast<std::byte>(random());
        // In most places nothing is kept, so every other round also hits one of which a CRC knows.
        if (const auto at = format::superblock_offset + random() % sizeof(format::superblock); round % 2 == 0)
            image[at] = ~original[at];
        write_image(dir / "s", image);
        for (const auto& command : commands) {
            const auto got = run({inspect_tool, command, dir / "s"});
            CAPTURE(round);
            CAPTURE(command);
            CHECK_FALSE(got.signalled);
            CHECK(got.code >= 0);
            CHECK((got.code == 0 || got.code == 2 || got.code == 3));
            ++(got.code == 0 ? fine : refused);
        }
    }
    MESSAGE(fine << " answers, " << refused << " refusals");
    CHECK(refused >= scaled(100) / 2 * commands.size());
}

TEST_CASE("a stream that is truncated under tail -f ends it with status 4, not with SIGBUS, whatever is left of it") {
    for (const off_t bytes : {0, 512, 4096, 8192, 12'288, 100'000}) {
        CAPTURE(bytes);
        const temp_dir dir;
        CHECK(run({write_tool, dir / "s", "--size", "1M"}, {.input = "one\n"}).status() == 0);
        running all({"timeout", "-s", "KILL", "60", inspect_tool, "tail", "-f", dir / "s"});
        running one({"timeout", "-s", "KILL", "60", inspect_tool, "tail", "-f", "-r", "main", dir / "s"});
        CHECK(all.line() == "one");
        CHECK(one.line() == "one");
        REQUIRE(::truncate((dir / "s").c_str(), bytes) == 0);
        for (auto* const tail : {&all, &one}) {
            const auto got = tail->wait();
            CHECK_FALSE(got.signalled);
            CHECK(got.status() == 4);
            CHECK(got.says("truncated"));
        }
    }
}

TEST_CASE("a stream that is truncated under a writer ends it with status 4, not with SIGBUS") {
    const temp_dir dir;
    running writer({write_tool, dir / "s", "--size", "1M"});
    writer.send("one\n");
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").empty())
        ;
    REQUIRE(::truncate((dir / "s").c_str(), 0) == 0);
    writer.send("two\n");
    const auto got = writer.wait();
    CHECK_FALSE(got.signalled);
    CHECK(got.status() == 4);
}
