// --resume: what a killed writer left is completed, and nothing is lost or doubled.
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_numbers.hpp"
#include "tests/tools/process.hpp"

#include <unistd.h>
#include <csignal>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

TEST_CASE("a writer killed in the midst is resumed until every line is there exactly once") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const std::uint64_t lines = 20'000;
    unsigned killed_midway = 0;
    const temp_dir dir;
    write_text(dir / "input", numbered_lines(lines));
    for (unsigned round = 0; round < scaled(10) + 1; ++round) {
        const auto stream = dir / ("s" + std::to_string(round));
        std::size_t held = 0;
        for (int attempt = 0; held < lines; ++attempt) {
            REQUIRE(attempt < 1000);
            running tool({write_tool, stream, "--resume", dir / "input", "--pace", "400000"});
            const std::size_t until = held + 1 + random() % (lines / 2);
            // Killed at a place of its own choice: when so many entries are there.
            std::optional<child_exit> over;
            for (;;) {
                if (const auto reader = reader::open(stream); reader && reader->find("main")) {
                    const auto newest = to_uint(reader->committed());
                    if (newest >= std::min<std::size_t>(until, lines))
                        break;
                }
            }
            tool.kill(SIGKILL);
            const auto got = tool.wait();
            CHECK((got.signalled || got.code == 0));
            const std::size_t now = entries_of(stream).size();
            CHECK(now >= held);
            CHECK(now <= lines);
            if (got.signalled && now > held && now < lines)
                ++killed_midway;
            held = now;
        }
        CHECK(run({write_tool, stream, "--resume", dir / "input"}).status() == 0);
        CHECK(entries_of(stream) == split_lines(numbered_lines(lines)));
    }
    MESSAGE(killed_midway << " kills midway");
    CHECK(killed_midway >= scaled(10));
}

TEST_CASE("a file that grew goes on where it was") {
    const temp_dir dir;
    write_text(dir / "input", "a\nb\n");
    CHECK(run({write_tool, dir / "s", "--resume", dir / "input"}).status() == 0);
    CHECK(run({write_tool, dir / "s", "--resume", dir / "input"}).status() == 0);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "b"});
    write_text(dir / "input", "a\nb\nc\n");
    CHECK(run({write_tool, dir / "s", "--resume", dir / "input"}).status() == 0);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("a last line is left until it has its newline, in whatever pieces it is written") {
    const temp_dir dir;
    for (const std::string text : {"a\nb", "a\nbe", "a\nbeta"}) {
        write_text(dir / "input", text);
        const auto got = run({write_tool, dir / "s", "--resume", dir / "input"});
        CHECK(got.status() == 0);
        CHECK(got.says("line 2 has no newline yet"));
        CHECK(entries_of(dir / "s") == std::vector<std::string>{"a"});
    }
    write_text(dir / "input", "a\nbeta\n");
    const auto whole = run({write_tool, dir / "s", "--resume", dir / "input"});
    CHECK(whole.status() == 0);
    CHECK(whole.err.empty());
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "beta"});
}

TEST_CASE("a last line without newline that the region holds already is no reason to refuse the file") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s"}, {.input = "a\nlast"}).status() == 0);
    write_text(dir / "input", "a\nlast");
    const auto same = run({write_tool, dir / "s", "--resume", dir / "input"});
    CHECK(same.status() == 0);
    CHECK(same.err.empty());
    // An entry cannot grow.
    write_text(dir / "input", "a\nlast line\n");
    const auto grown = run({write_tool, dir / "s", "--resume", dir / "input"});
    CHECK(grown.status() == 7);
    CHECK(grown.says("line 2"));
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "last"});
}

TEST_CASE("a last line without newline from a pipe is appended when the pipe ends") {
    const temp_dir dir;
    const auto got = shell("$WRITE '" + (dir / "s").string() + "' --resume <(printf 'a\\nlast')");
    CHECK(got.status() == 0);
    CHECK(got.err.empty());
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "last"});
}

TEST_CASE("a region is resumed by its own entries, whatever others hold") {
    const temp_dir dir;
    write_text(dir / "input", "a\nb\nc\n");
    CHECK(run({write_tool, dir / "s", "-r", "other", "--region-size", "4K"}, {.input = "x\ny\n"}).status() == 0);
    CHECK(run({write_tool, dir / "s", "-r", "r", "--region-size", "4K"}, {.input = "a\n"}).status() == 0);
    CHECK(run({write_tool, dir / "s", "-r", "r", "--resume", dir / "input"}).status() == 0);
    CHECK(entries_of(dir / "s", "r") == std::vector<std::string>{"a", "b", "c"});
    CHECK(entries_of(dir / "s", "other") == std::vector<std::string>{"x", "y"});
}

TEST_CASE("a file that is not the region's is refused with status 7, and nothing is appended") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s"}, {.input = "a\nb\n"}).status() == 0);
    write_text(dir / "other", "a\nB\nc\n");
    write_text(dir / "short", "a\n");
    const auto other = run({write_tool, dir / "s", "--resume", dir / "other"});
    CHECK(other.status() == 7);
    CHECK(other.says("line 2"));
    const auto cut = run({write_tool, dir / "s", "--resume", dir / "short"});
    CHECK(cut.status() == 7);
    CHECK(cut.says("1 lines"));
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "b"});
    CHECK(run({write_tool, dir / "s", "--resume", dir / "none"}).status() == 4);
}
