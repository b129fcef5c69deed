// pmemstream-inspect dump: formats, and where it begins and ends.
#include "tests/support/expect.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <pmemstream/writer.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

using namespace pmemstream;
using namespace pmemstream::test;
using nlohmann::json;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Two regions whose entries take turns: a1 b2 a3 b4 …
void make_two_regions(const std::filesystem::path& file, unsigned entries) {
    REQUIRE(create(file, {.stream_bytes = 1 << 20}));
    const auto writer = writer::open(file).value();
    const auto a = writer->allocate(100'000, "a").value();
    const auto b = writer->allocate(100'000, "b").value();
    for (unsigned i = 1; i <= entries; ++i)
        REQUIRE(writer->append(i % 2 == 1 ? a : b, bytes_of((i % 2 == 1 ? "a" : "b") + std::to_string(i))));
}

words dump(const std::filesystem::path& file, words more = {}) {
    words all{inspect_tool, "dump", file};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

}  // namespace

TEST_CASE("all regions in the order of sequences, or one") {
    const temp_dir dir;
    make_two_regions(dir / "s", 6);
    CHECK(run(dump(dir / "s")).out == "a1\nb2\na3\nb4\na5\nb6\n");
    CHECK(run(dump(dir / "s", {"-r", "b"})).out == "b2\nb4\nb6\n");
    CHECK(run(dump(dir / "s", {"--region", "b", "--from", "start"})).out == "b2\nb4\nb6\n");
    CHECK(run(dump(dir / "s", {"--with-sequences", "--with-regions", "-n", "2"})).out == "1\ta\ta1\n2\tb\tb2\n");
}

TEST_CASE("begin and end as the options say") {
    const temp_dir dir;
    make_two_regions(dir / "s", 6);
    CHECK(run(dump(dir / "s", {"--after", "4"})).out == "a5\nb6\n");
    CHECK(run(dump(dir / "s", {"--after", "4", "-r", "a"})).out == "a5\n");
    CHECK(run(dump(dir / "s", {"--after", "0", "-n", "1"})).out == "a1\n");
    CHECK(run(dump(dir / "s", {"--after", "100"})).out.empty());
    CHECK(run(dump(dir / "s", {"--from", "end"})).out.empty());
    CHECK(run(dump(dir / "s", {"-n", "0"})).out.empty());
    CHECK(run(dump(dir / "s", {"-n", "3", "-r", "b"})).out == "b2\nb4\nb6\n");
    CHECK(run(dump(dir / "s", {"-n", "1000"})).out.size() == 18);

    // The offset of one entry, as JSON shows it, is where another dump may begin.
    const auto lines = split_lines(run(dump(dir / "s", {"-r", "b", "--json"})).out);
    REQUIRE(lines.size() == 3);
    const std::string second = std::to_string(json::parse(lines[1])["offset"].get<std::uint64_t>());
    CHECK(run(dump(dir / "s", {"-r", "b", "--from", second})).out == "b4\nb6\n");
    for (const char* const format : {"{:#x}", "{:#X}"})
        CHECK(run(dump(dir / "s", {"-r", "b", "--from", fmt::format(fmt::runtime(format), std::stoull(second))})).out ==
              "b4\nb6\n");
    const auto between = run(dump(dir / "s", {"-r", "b", "--from", std::to_string(std::stoull(second) + 8)}));
    CHECK(between.status() == 4);
    CHECK(between.says("no entry begins at offset"));
}

TEST_CASE("the last entries, as tail shows them") {
    const temp_dir dir;
    make_two_regions(dir / "s", 30);
    const auto tail = [&](words more) {
        words all{inspect_tool, "tail", dir / "s"};
        all.insert(all.end(), more.begin(), more.end());
        const auto got = run(all);
        CHECK(got.status() == 0);
        return split_lines(got.out);
    };
    CHECK(tail({}).size() == 10);
    CHECK(tail({}).front() == "a21");
    CHECK(tail({}).back() == "b30");
    CHECK(tail({"-n", "3"}) == std::vector<std::string>{"b28", "a29", "b30"});
    CHECK(tail({"-n", "2", "-r", "a"}) == std::vector<std::string>{"a27", "a29"});
    CHECK(tail({"-n", "0"}).empty());
    CHECK(tail({"-n", "1000"}).size() == 30);
    CHECK(tail({"--from", "start", "-n", "2"}) == std::vector<std::string>{"a1", "b2"});
    CHECK(tail({"--after", "28"}) == std::vector<std::string>{"a29", "b30"});
    CHECK(tail({"--from", "end"}).empty());
}

TEST_CASE("json: one object per entry, text where it is UTF-8, base64 where not") {
    const temp_dir dir;
    const std::vector<std::string> payloads{"plain",
                                            "",
                                            "tab\t\"quoted\"\n",
                                            "gr\xc3\xbc\xc3\x9f",
                                            "\xf0\x9f\x98\x80",
                                            "\xff",
                                            "\xc0\x80",
                                            std::string("\0", 1),
                                            "\xed\xa0\x80",
                                            "ab\xff",
                                            "\xe2\x82",
                                            "\xf4\x90\x80\x80"};
    const std::vector<std::string> encoded{"", "", "", "", "", "/w==", "wIA=", "", "7aCA", "YWL/", "4oI=", "9JCAgA=="};
    {
        REQUIRE(create(dir / "s", {.stream_bytes = 1 << 20}));
        const auto writer = writer::open(dir / "s").value();
        const auto named = writer->allocate(10'000, "r").value();
        for (const auto& payload : payloads)
            REQUIRE(writer->append(named, bytes_of(payload)));
        const auto unnamed = writer->allocate(1'000).value();
        REQUIRE(writer->append(unnamed, bytes_of("x")));
    }
    const auto got = run(dump(dir / "s", {"--json"}));
    CHECK(got.status() == 0);
    const auto lines = split_lines(got.out);
    REQUIRE(lines.size() == payloads.size() + 1);
    for (std::size_t i = 0; i < payloads.size(); ++i) {
        CAPTURE(i);
        const auto object = json::parse(lines[i]);
        CHECK(object["sequence"] == i + 1);
        CHECK(object["region"] == "r");
        CHECK(object["bytes"] == payloads[i].size());
        CHECK(object["offset"].get<std::uint64_t>() % 8 == 0);
        if (encoded[i].empty()) {
            CHECK(object["text"] == payloads[i]);
            CHECK_FALSE(object.contains("base64"));
        } else {
            CHECK(object["base64"] == encoded[i]);
            CHECK_FALSE(object.contains("text"));
        }
    }
    const auto label = json::parse(lines.back())["region"].get<std::string>();
    CHECK(label.starts_with('#'));
    CHECK(run(dump(dir / "s", {"-r", label})).out == "x\n");
    CHECK(run(dump(dir / "s", {"--json"})).out == run(dump(dir / "s", {"--format", "json"})).out);
}

TEST_CASE("an unnamed region and one that is named like its label are told apart everywhere") {
    const temp_dir dir;
    {
        REQUIRE(create(dir / "s", {.stream_bytes = 1 << 20}));
        const auto writer = must(writer::open(dir / "s"));
        const auto unnamed = must(writer->allocate(10'000));
        const auto named = must(writer->allocate(10'000, "#1"));
        const auto channel = must(writer->allocate(10'000, "#go"));
        REQUIRE(unnamed.generation() == 1);
        for (const auto& [where, text] : {std::pair(unnamed, 'u'), std::pair(named, 'n'), std::pair(channel, 'c')})
            must(writer->append(where, std::as_bytes(std::span(&text, 1))));
    }
    CHECK(run(dump(dir / "s", {"--with-regions"})).out == "#1\tu\n##1\tn\n##go\tc\n");
    const auto lines = split_lines(run(dump(dir / "s", {"--json"})).out);
    REQUIRE(lines.size() == 3);
    CHECK(json::parse(lines[0])["region"] == "#1");
    CHECK(json::parse(lines[1])["region"] == "##1");
    CHECK(run(dump(dir / "s", {"-r", "#1"})).out == "u\n");
    CHECK(run(dump(dir / "s", {"-r", "##1"})).out == "n\n");
    CHECK(run(dump(dir / "s", {"-r", "##go"})).out == "c\n");
    CHECK(run(dump(dir / "s", {"-r", "#go"})).out == "c\n");
    CHECK(run(dump(dir / "s", {"-r", "#2"})).status() == 4);
    CHECK(json::parse(run({inspect_tool, "regions", dir / "s", "--json", "-r", "##1"}).out)[0]["name"] == "#1");
}

TEST_CASE("hex shows every byte") {
    const temp_dir dir;
    {
        REQUIRE(create(dir / "s", {.stream_bytes = 1 << 20}));
        const auto writer = writer::open(dir / "s").value();
        const auto region = writer->allocate(10'000, "r").value();
        std::string bytes;
        for (int i = 0; i < 256; ++i)
            bytes += static_cast<char>(i);
        REQUIRE(writer->append(region, bytes_of(bytes + "~")));
    }
    const auto lines = split_lines(run(dump(dir / "s", {"--format", "hex"})).out);
    REQUIRE(lines.size() == 18);
    CHECK(lines[0] == "sequence 1  offset 8312  region r  257 bytes");
    CHECK(lines[1] == "  00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|");
    CHECK(lines[5] == "  00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|");
    CHECK(lines[17] == "  00000100  7e                                                |~|");
}

TEST_CASE("text is the payload as it is") {
    const temp_dir dir;
    const std::string binary("\x1b[31m\0\xff\n", 8);
    write_text(dir / "f", binary);
    CHECK(run({write_tool, dir / "s", "--files", dir / "f"}).status() == 0);
    CHECK(run(dump(dir / "s")).out == binary + "\n");
}

TEST_CASE("a region that is not there is told with those that are") {
    const temp_dir dir;
    make_two_regions(dir / "s", 2);
    for (const std::string command : {"dump", "tail", "regions", "readers"}) {
        const auto got = run({inspect_tool, command, dir / "s", "-r", "c"});
        CHECK(got.status() == 4);
        CHECK(got.says("no region \"c\"; there are a, b"));
    }
    CHECK(run(dump(dir / "s", {"-r", "#99"})).status() == 4);
}

TEST_CASE("a reader that leaves ends a dump quietly") {
    const temp_dir dir;
    write_text(dir / "input", numbered_lines(200'000));
    CHECK(run({write_tool, dir / "s", "--resume", dir / "input"}).status() == 0);
    const std::string stream = (dir / "s").string();
    for (const std::string format : {"text", "json", "hex", "frames"}) {
        const auto got = shell("$INSPECT dump --format " + format + " '" + stream +
                               "' | head -c 10 > /dev/null; "
                               "echo ${PIPESTATUS[0]}");
        CHECK(got.out == "0\n");
        CHECK(got.err.empty());
    }
    CHECK(shell("$INSPECT dump '" + stream + "' | head -n 2").out == "1\n2\n");
}

TEST_CASE("output that cannot be stored is an error") {
    const temp_dir dir;
    make_two_regions(dir / "s", 2);
    const std::string stream = (dir / "s").string();
    for (const std::string command : {"dump", "tail", "info", "regions", "readers", "dump --json"}) {
        CAPTURE(command);
        const auto full = shell("$INSPECT " + command + " '" + stream + "' > /dev/full");
        CHECK(full.status() == 4);
        CHECK(full.says("standard output: No space left"));
        CHECK(shell("$INSPECT " + command + " '" + stream + "' >&-").status() == 4);
        // The stream must not be taken for standard output, or input.
        CHECK(shell("$INSPECT " + command + " '" + stream + "' <&- >&- 2>&-").status() == 4);
    }
    CHECK(entries_of(dir / "s", std::nullopt).size() == 2);
}

TEST_CASE("a dump beside a live writer ends with what was committed when it began") {
    const temp_dir dir;
    running writer({"bash", "-c", "yes | \"$0\" \"$1\" --pace 200000 --size 1G", write_tool, dir / "s"});
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") ||
           to_uint(reader::open(dir / "s")->committed()) < 1000)
        ;
    const auto got = run(dump(dir / "s"));
    CHECK(got.status() == 0);
    const auto lines = split_lines(got.out);
    CHECK(lines.size() >= 1000);
    CHECK(std::count(lines.begin(), lines.end(), "y") == static_cast<std::ptrdiff_t>(lines.size()));
    // It did not disturb the writer.
    const auto then = to_uint(reader::open(dir / "s")->committed());
    while (to_uint(reader::open(dir / "s")->committed()) <= then + 100)
        ;
}
