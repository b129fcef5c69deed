// pmemstream-inspect info, regions and readers.
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <pmemstream/writer.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

using namespace pmemstream;
using namespace pmemstream::test;
using nlohmann::json;

namespace {

json parsed(const words& command) {
    const auto got = run(command);
    REQUIRE_MESSAGE(got.status() == 0, got.err);
    return json::parse(got.out);
}

/// Regions of many sizes, one of them freed; entries in some.
void make_regions(const std::filesystem::path& file, std::size_t count) {
    REQUIRE(create(file, {.stream_bytes = 16 << 20}));
    const auto writer = writer::open(file).value();
    const std::vector<std::byte> payload(1000);
    for (std::size_t i = 0; i < count; ++i) {
        const auto region = writer->allocate(4000 + 20'000 * (i % 7), "region " + std::to_string(i)).value();
        for (std::size_t k = 0; k < i % 4; ++k)
            REQUIRE(writer->append(region, payload));
        if (i == 2)
            REQUIRE(writer->free(region));
    }
}

}  // namespace

TEST_CASE("info as JSON is what the library says") {
    const temp_dir dir;
    make_regions(dir / "s", 5);
    const auto got = parsed({inspect_tool, "info", dir / "s", "--json"});
    const auto info = reader::open(dir / "s")->info();
    CHECK(got["format_version"] == info.format_version);
    CHECK(got["uuid"] == to_string(info.uuid));
    CHECK(got["stream_bytes"] == 16 << 20);
    CHECK(got["block_bytes"] == 4096);
    CHECK(got["free_bytes"] == info.free_bytes);
    CHECK(got["regions"] == 4);
    CHECK(got["epoch"] == 1);
    CHECK(got["clean"] == true);
    CHECK(got["committed"] == to_uint(info.committed));
    CHECK(got["persisted"] == to_uint(info.persisted));
    CHECK(got["writer_alive"] == false);
    CHECK(got["granularity"] == "page");
}

TEST_CASE("info tells whether a writer is at work, gone, or killed") {
    const temp_dir dir;
    running writer({write_tool, dir / "s"});
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main"))
        ;
    auto got = parsed({inspect_tool, "info", dir / "s", "--json"});
    CHECK(got["writer_alive"] == true);
    CHECK(got["writer_pid"] == writer.pid());
    CHECK(got["control"] == "attached");
    CHECK(run({inspect_tool, "info", dir / "s"}).out.find("a writer is at work (pid " + std::to_string(writer.pid())) !=
          std::string::npos);
    writer.kill(SIGKILL);
    CHECK(writer.wait().signalled);
    got = parsed({inspect_tool, "info", dir / "s", "--json"});
    CHECK(got["writer_alive"] == false);
    CHECK(got["clean"] == false);
    CHECK(run({inspect_tool, "info", dir / "s"}).out.find("ended without closing it") != std::string::npos);
    CHECK(run({write_tool, dir / "s"}).status() == 0);
    CHECK(run({inspect_tool, "info", dir / "s"}).out.find("closed in order") != std::string::npos);
}

TEST_CASE("regions as JSON are what the library says") {
    const temp_dir dir;
    make_regions(dir / "s", 6);
    const auto got = parsed({inspect_tool, "regions", dir / "s", "--json"});
    const auto all = reader::open(dir / "s")->regions().value();
    REQUIRE(got.size() == 5);
    REQUIRE(all.size() == 5);
    for (std::size_t i = 0; i < all.size(); ++i) {
        CHECK(got[i]["name"] == all[i].name);
        CHECK(got[i]["region"] == all[i].name);
        CHECK(got[i]["size_bytes"] == all[i].size_bytes);
        CHECK(got[i]["used_bytes"] == all[i].used_bytes);
        CHECK(got[i]["extent"] == to_uint(all[i].extent));
        CHECK(got[i]["committed"] == to_uint(all[i].committed));
    }
    const auto one = parsed({inspect_tool, "regions", dir / "s", "--json", "-r", "region 3"});
    REQUIRE(one.size() == 1);
    CHECK(one[0]["name"] == "region 3");
}

TEST_CASE("the picture of the file fits 80 columns and shows every region, however small") {
    for (const std::size_t count : {0, 1, 5, 26, 100}) {
        CAPTURE(count);
        const temp_dir dir;
        make_regions(dir / "s", count);
        const auto got = run({inspect_tool, "regions", dir / "s"});
        REQUIRE(got.status() == 0);
        std::string picture;
        std::size_t rows = 0;
        for (const auto& line : split_lines(got.out)) {
            CHECK(line.size() <= 80);
            if (line.ends_with('|')) {
                picture += line.substr(line.find('|'));
                ++rows;
            }
        }
        CHECK(rows == 8);
        const std::size_t live = count > 2 ? count - 1 : count;
        for (std::size_t i = 0; i < std::min<std::size_t>(live, 26); ++i) {
            CAPTURE(i);
            CHECK(picture.find_first_of({static_cast<char>('A' + i), static_cast<char>('a' + i)}) != std::string::npos);
        }
        CHECK(picture.find('#') != std::string::npos);
        CHECK(picture.find('.') != std::string::npos);
    }
}

TEST_CASE("the picture shows what is full, what has room and what is free, where it is") {
    const temp_dir dir;
    {
        REQUIRE(create(dir / "s", {.stream_bytes = 64 * 4096}));
        const auto writer = writer::open(dir / "s").value();
        const auto first = writer->allocate(8 * 4096 - region_overhead_bytes("first"), "first").value();
        REQUIRE(writer->append(first, std::vector<std::byte>(8 * 4096 - region_overhead_bytes("first") - 16)));
        const auto second = writer->allocate(16 * 4096 - region_overhead_bytes("second"), "second").value();
        REQUIRE(writer->append(second, std::vector<std::byte>(4 * 4096 - region_overhead_bytes("second") - 16)));
    }
    const auto got = run({inspect_tool, "regions", dir / "s"});
    const std::string expected =
        "##" + std::string(8, 'A') + std::string(4, 'B') + std::string(12, 'b') + std::string(64 - 26, '.');
    CHECK_MESSAGE(got.out.find("|" + expected + "|") != std::string::npos, got.out);
    CHECK(got.out.find("[##########]") != std::string::npos);
    CHECK(got.out.find("[##........]") != std::string::npos);
}

TEST_CASE("names cannot move the terminal") {
    const temp_dir dir;
    {
        REQUIRE(create(dir / "s", {.stream_bytes = 1 << 20}));
        REQUIRE(writer::open(dir / "s").value()->allocate(4000, "a\x1b[31mb\nc"));
    }
    const auto got = run({inspect_tool, "regions", dir / "s"});
    CHECK(got.out.find('\x1b') == std::string::npos);
    CHECK(got.out.find("a\\x1b[31mb\\x0ac") != std::string::npos);
}

TEST_CASE("readers shows who follows, how far behind, asleep or not, alive or dead") {
    const temp_dir dir;
    running writer({write_tool, dir / "s", "--region-size", "1M"});
    writer.send("one\n");
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").empty())
        ;
    CHECK(run({inspect_tool, "readers", dir / "s"}).out.find("no cursor is registered") != std::string::npos);

    running tail({inspect_tool, "tail", "-f", dir / "s", "--from", "start"});
    CHECK(tail.line() == "one");
    running one({inspect_tool, "tail", "-f", dir / "s", "--from", "start", "-r", "main"});
    CHECK(one.line() == "one");
    auto got = parsed({inspect_tool, "readers", dir / "s", "--json"});
    CHECK(got["control"] == "attached");
    CHECK(got["writer_alive"] == true);
    REQUIRE(got["readers"].size() == 2);
    const auto of = [&got](pid_t pid) {
        for (const auto& r : got["readers"])
            if (r["pid"] == pid)
                return r;
        return json();
    };
    CHECK(of(tail.pid())["alive"] == true);
    CHECK(of(tail.pid())["name"] == "pmemstream-inspect tail -f");
    CHECK(of(tail.pid())["region"].is_null());
    CHECK(of(tail.pid())["lag_sequences"] == 0);
    CHECK(of(one.pid())["region"] == "main");
    CHECK(of(one.pid())["lag_bytes"] == 0);
    CHECK(parsed({inspect_tool, "readers", dir / "s", "--json", "-r", "main"})["readers"].size() == 1);

    // Stopped, it falls behind; killed, it is dead.
    one.stop();
    writer.send("two\nthree\n");
    CHECK(tail.line() == "two");
    CHECK(tail.line() == "three");
    got = parsed({inspect_tool, "readers", dir / "s", "--json"});
    CHECK(of(one.pid())["lag_bytes"] == 48);
    const auto table = run({inspect_tool, "readers", dir / "s"});
    CHECK(table.out.find("pmemstream-inspect tail -f") != std::string::npos);
    CHECK(table.out.find("48 B") != std::string::npos);
    for (const auto& line : split_lines(table.out))
        CHECK(line.size() <= 80);
    const auto killed = one.pid();
    writer.stop();  // which would take the slot back before it is looked at
    one.kill(SIGKILL);
    CHECK(one.wait().signalled);
    got = parsed({inspect_tool, "readers", dir / "s", "--json"});
    CHECK(of(killed)["alive"] == false);
    writer.kill(SIGCONT);
    tail.kill(SIGTERM);
    CHECK(tail.wait().status() == 0);
    CHECK(writer.wait().status() == 0);
}

TEST_CASE("a control file that is scribbled over does not harm the readers command") {
    const temp_dir dir;
    running writer({write_tool, dir / "s", "--region-size", "1M"});
    writer.send("one\n");
    running tail({inspect_tool, "tail", "-f", dir / "s", "--from", "start"});
    running slow({inspect_tool, "tail", "-f", "--wait", dir / "s", "-r", "main", "--from", "start"});
    (void)slow.line();
    const auto control = dir / "s.ctl";
    const auto bytes = std::filesystem::file_size(control);
    REQUIRE(bytes > 4096);
    for (const char fill : {'\xff', 'A', '\x01'}) {
        auto content = read_text(control);
        // The nonce stays, or it would be no control file of this stream.
        std::fill(content.begin() + 64, content.end(), fill);
        const int fd = ::open(control.c_str(), O_WRONLY);
        REQUIRE(fd >= 0);
        REQUIRE(::pwrite(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
        ::close(fd);
        CHECK(run({inspect_tool, "readers", dir / "s"}).status() == 0);
        const auto got = run({inspect_tool, "readers", dir / "s", "--json"});
        CHECK(got.status() == 0);
        CHECK(json::parse(got.out).contains("readers"));
    }
}
