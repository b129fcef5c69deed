// Command lines that make no sense, and the texts that help.
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <algorithm>

using namespace pmemstream::test;

namespace {

std::size_t widest(const std::string& text) {
    std::size_t width = 0;
    for (const auto& line : split_lines(text))
        width = std::max(width, line.size());
    return width;
}

}  // namespace

TEST_CASE("a command line that makes no sense gives status 1, one line of text, and changes nothing") {
    const temp_dir dir;
    const std::string s = dir / "s";
    const std::vector<words> all{
        {write_tool},
        {write_tool, s, s},
        {write_tool, s, "--bogus"},
        {write_tool, s, "--size", "big"},
        {write_tool, s, "--size", "-1"},
        {write_tool, s, "--size", "99999999999999G"},
        {write_tool, s, "--size", "1KK"},
        {write_tool, s, "--size"},
        {write_tool, s, "--size", "10"},
        {write_tool, s, "--size", "0"},
        {write_tool, s, "--block-size", "100"},
        {write_tool, s, "--mode", "999"},
        {write_tool, s, "--mode", "rw"},
        {write_tool, s, "--mode", "7777"},
        {write_tool, s, "--control-mode", "888"},
        {write_tool, s, "--pace", "0"},
        {write_tool, s, "--pace", "fast"},
        {write_tool, s, "--pace", "-3"},
        {write_tool, s, "--pace", "inf"},
        {write_tool, s, "--region", ""},
        {write_tool, s, "--region", std::string(64, 'x')},
        {write_tool, s, "--frames", "--resume", "/dev/null"},
        {write_tool, s, "--frames", "--files", "/dev/null"},
        {write_tool, s, "--resume", "/dev/null", "--files", "/dev/null"},
        {write_tool, s, "--frames", "--", "true"},
        {write_tool, s, "--resume", "/dev/null", "--", "true"},
        {write_tool, s, "--files", "/dev/null", "--", "true"},
        {write_tool, s, "--"},
        {write_tool, "--", "true"},
        {inspect_tool},
        {inspect_tool, s},
        {inspect_tool, "bogus", s},
        {inspect_tool, "info"},
        {inspect_tool, "info", s, s},
        {inspect_tool, "info", s, "-f"},
        {inspect_tool, "info", s, "--region", "main"},
        {inspect_tool, "info", s, "-n", "3"},
        {inspect_tool, "regions", s, "--region", ""},
        {inspect_tool, "regions", s, "--format", "json"},
        {inspect_tool, "readers", s, "--after", "1"},
        {inspect_tool, "readers", s, "--wait"},
        {inspect_tool, "dump", s, "--wait"},
        {inspect_tool, "dump", s, "-f"},
        {inspect_tool, "dump", s, "--format", "xml"},
        {inspect_tool, "dump", s, "--json", "--format", "hex"},
        {inspect_tool, "dump", s, "--from", "middle"},
        {inspect_tool, "dump", s, "--from", "-5"},
        {inspect_tool, "dump", s, "--from", "8256"},
        {inspect_tool, "dump", s, "--from", "0x2040"},
        {inspect_tool, "dump", s, "-r", "main", "--from", "0x"},
        {inspect_tool, "dump", s, "-r", "main", "--from", "0x-1"},
        {inspect_tool, "dump", s, "-r", "main", "--from", "2g40"},
        {inspect_tool, "dump", s, "-r", "main", "--from", "0x10000000000000000"},
        {inspect_tool, "dump", s, "--from", "start", "--after", "1"},
        {inspect_tool, "dump", s, "--after", "yesterday"},
        {inspect_tool, "dump", s, "-n", "few"},
        {inspect_tool, "dump", s, "-n", "-1"},
        {inspect_tool, "dump", s, "-n", "1.5"},
        {inspect_tool, "dump", s, "--json", "--with-sequences"},
        {inspect_tool, "dump", s, "--region", ""},
        {inspect_tool, "tail", s, "--follow", "--from"},
    };
    for (const auto& command : all) {
        std::string line;
        for (const auto& word : command)
            line += word + " ";
        CAPTURE(line);
        const auto got = run(command, {.input = "x\n"});
        CHECK(got.status() == 1);
        CHECK(got.out.empty());
        CHECK(got.err.size() > 20);
        CHECK(std::count(got.err.begin(), got.err.end(), '\n') == 1);
        CHECK_FALSE(std::filesystem::exists(s));
    }
    // No region was asked for.
    CHECK_FALSE(run({write_tool, s, "--size", "0"}, {.input = "x\n"}).says("a region of"));
}

TEST_CASE("an empty name of a stream is told as that") {
    const temp_dir dir;
    const std::string s = dir / "s";
    const std::vector<words> all{{write_tool, ""},
                                 {write_tool, "", "--frames"},
                                 {inspect_tool, "info", ""},
                                 {inspect_tool, "tail", "-f", "--wait", ""},
                                 {inspect_tool, "verify", ""},
                                 {inspect_tool, "salvage", "", s},
                                 {inspect_tool, "salvage", s, ""}};
    for (const auto& command : all) {
        CAPTURE(command[1]);
        const auto got = run(command, {.input = "x\n"});
        CHECK(got.status() == 1);
        CHECK(got.says(" stream is empty (see --help)"));
    }
}

TEST_CASE("help and version go to standard output, fit 80 columns, and name every exit status") {
    const std::vector<words> all{{write_tool, "--help"},           {write_tool, "-h"},
                                 {inspect_tool, "--help"},         {inspect_tool, "info", "--help"},
                                 {inspect_tool, "regions", "-h"},  {inspect_tool, "dump", "--help"},
                                 {inspect_tool, "tail", "--help"}, {inspect_tool, "readers", "--help"}};
    for (const auto& command : all) {
        CAPTURE(command.front());
        CAPTURE(command[1]);
        const auto got = run(command);
        CHECK(got.status() == 0);
        CHECK(got.err.empty());
        CHECK(widest(got.out) <= 80);
        CHECK(got.out.starts_with("Usage: pmemstream-"));
        CHECK(got.out.find("Exit status:") != std::string::npos);
        for (char code = '0'; code <= (command.front() == write_tool ? '7' : '4'); ++code)
            CHECK(got.out.find(std::string("\n  ") + code + "  ") != std::string::npos);
        CHECK(got.out.find("\n\n\n") == std::string::npos);
    }
    CHECK(run({write_tool, "--version"}).out.starts_with("pmemstream-write "));
    CHECK(run({inspect_tool, "--version"}).out.starts_with("pmemstream-inspect "));
}

TEST_CASE("help that cannot be written is an error") {
    for (const std::string tool : {"$WRITE", "$INSPECT", "$INSPECT tail"}) {
        CHECK(shell(tool + " --help > /dev/full").status() == 4);
        CHECK(shell(tool + " --help >&-").status() == 4);
    }
}

TEST_CASE("sizes take suffixes") {
    for (const std::string text : {"1048576", "1024K", "1024k", "1M", "1MiB", "1.0M", "1048576B", "0.5M"}) {
        CAPTURE(text);
        const temp_dir dir;
        CHECK(run({write_tool, dir / "s", "--size", text}).status() == 0);
        CHECK(std::filesystem::file_size(dir / "s") == (text == "0.5M" ? 1 << 19 : 1 << 20));
    }
}
