// pmemstream-write: what it appends, where, and how it ends.
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <pmemstream/writer.hpp>

#include <sys/stat.h>
#include <unistd.h>
#include <chrono>
#include <csignal>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

region_info describe(const std::filesystem::path& file, std::string_view name) {
    const auto reader = reader::open(file).value();
    return reader.describe(reader.find(name).value()).value();
}

}  // namespace

TEST_CASE("each line becomes an entry, empty ones and a last one without newline too") {
    const temp_dir dir;
    const auto got = run({write_tool, dir / "s"}, {.input = "one\n\nthree \r\nlast"});
    CHECK(got.status() == 0);
    CHECK(got.out.empty());
    CHECK(got.err.empty());
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"one", "", "three \r", "last"});
    CHECK(reader::open(dir / "s")->info().clean);
}

TEST_CASE("no line at all makes an empty region") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s"}).status() == 0);
    CHECK(entries_of(dir / "s").empty());
}

TEST_CASE("a later run appends to what is there") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s", "-r", "x", "--region-size", "4K"}, {.input = "1\n2\n"}).status() == 0);
    CHECK(run({write_tool, dir / "s", "-r", "x"}, {.input = "3\n"}).status() == 0);
    CHECK(run({write_tool, dir / "s", "--region=y"}, {.input = "4\n"}).status() == 0);
    CHECK(entries_of(dir / "s", "x") == std::vector<std::string>{"1", "2", "3"});
    CHECK(entries_of(dir / "s", "y") == std::vector<std::string>{"4"});
    CHECK(entries_of(dir / "s", std::nullopt) == std::vector<std::string>{"1", "2", "3", "4"});
}

TEST_CASE("lines longer than the read buffer arrive whole") {
    const temp_dir dir;
    const std::string first(300'000, 'a');
    const std::string second(3'000'000, 'b');
    CHECK(run({write_tool, dir / "s"}, {.input = first + "\nshort\n" + second + "\n"}).status() == 0);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{first, "short", second});
}

TEST_CASE("stream and region are made as the command line says") {
    const temp_dir dir;
    const auto got = run({write_tool, dir / "s", "--size", "2M", "--block-size", "64", "--mode", "0640",
                          "--region-size", "1.5K", "--region", "small"},
                         {.input = "x\n"});
    CHECK(got.status() == 0);
    const auto info = reader::open(dir / "s")->info();
    CHECK(info.stream_bytes == 2 << 20);
    CHECK(info.block_bytes == 64);
    const auto region = describe(dir / "s", "small");
    CHECK(region.size_bytes >= 1536);
    CHECK(region.size_bytes < 1536 + 64);
    struct stat st {};
    REQUIRE(::stat((dir / "s").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0640);
}

TEST_CASE("without sizes a stream has 64 MiB, and each region half of what the others left") {
    const temp_dir dir;
    std::uint64_t left = 64 << 20;
    for (const std::string name : {"main", "second", "third", "fourth"}) {
        CHECK(run({write_tool, dir / "s", "-r", name}, {.input = "x\n"}).status() == 0);
        const auto info = reader::open(dir / "s")->info();
        CHECK(info.stream_bytes == 64 << 20);
        CHECK(info.free_bytes <= left / 2);
        CHECK(info.free_bytes > left / 2 - 16 * 4096);
        left = info.free_bytes;
    }
}

TEST_CASE("a last block is not halved, and when it is taken there is no room") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s", "--size", "1M", "--block-size", "512K"}, {.input = "x\n"}).status() == 0);
    CHECK(reader::open(dir / "s")->info().free_bytes == 0);
    const auto second = run({write_tool, dir / "s", "-r", "other"}, {.input = "x\n"});
    CHECK(second.status() == 5);
    CHECK(second.says("no room for a region \"other\""));
}

TEST_CASE("the control file gets the mode that is asked for, or the stream's") {
    const temp_dir dir;
    const auto mode = [&] {
        struct stat st {};
        REQUIRE(::stat((dir / "s.ctl").c_str(), &st) == 0);
        return st.st_mode & 07777;
    };
    CHECK(run({write_tool, dir / "s", "--mode", "0750"}).status() == 0);
    CHECK(mode() == 0640);
    CHECK(run({write_tool, dir / "s", "--control-mode", "666"}).status() == 0);
    CHECK(mode() == 0666);
    CHECK(run({write_tool, dir / "s"}).status() == 0);
    CHECK(mode() == 0640);
}

TEST_CASE("when there can be no control file, it says so in one line and writes all the same") {
    const temp_dir dir;
    write_text(dir / "s.ctl", "precious");
    const auto got = run({write_tool, dir / "s"}, {.input = "x\n"});
    CHECK(got.status() == 0);
    CHECK(got.says("s.ctl: "));
    CHECK(split_lines(got.err).size() == 1);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"x"});
    CHECK(read_text(dir / "s.ctl") == "precious");
}

TEST_CASE("a region that cannot be in the stream is told before the stream is made") {
    const temp_dir dir;
    const auto got = run({write_tool, dir / "s", "--size", "1M", "--region-size", "4M"}, {.input = "a\n"});
    CHECK(got.status() == 5);
    CHECK(got.err.find("4194304 bytes in a stream of 1048576") != std::string::npos);
    CHECK(!std::filesystem::exists(dir / "s"));
}

TEST_CASE("a full region ends it with status 5, and tells how much was appended") {
    const temp_dir dir;
    const auto got =
        run({write_tool, dir / "s", "--size", "1M", "--region-size", "4K"}, {.input = numbered_lines(100'000)});
    CHECK(got.status() == 5);
    const auto entries = entries_of(dir / "s");
    REQUIRE(entries.size() > 100);
    CHECK(entries.back() == std::to_string(entries.size()));
    CHECK(got.says("region_full"));
    CHECK(got.says("region \"main\""));
    CHECK(got.says("line " + std::to_string(entries.size() + 1)));
    CHECK(got.says(std::to_string(entries.size()) + " entries"));
    CHECK(got.says("other regions can have "));
    CHECK(reader::open(dir / "s")->info().clean);
}

TEST_CASE("a line larger than the region ends it without gathering the line") {
    const temp_dir dir;
    // The line never ends: who waited for its newline would never answer.
    const auto got = shell("(echo first; tr '\\0' x < /dev/zero) | timeout 60 $WRITE '" + (dir / "s").string() +
                           "' --size 1M --region-size 64K");
    CHECK(got.status() == 5);
    CHECK(got.says("line 2"));
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"first"});
}

TEST_CASE("whole files, one entry each") {
    const temp_dir dir;
    const std::string binary("\0\n\xff\0", 4);
    write_text(dir / "a", "alpha\nbeta\n");
    write_text(dir / "b", "");
    write_text(dir / "c", binary);
    const std::string large(1'000'000, 'L');
    write_text(dir / "d", large);
    CHECK(run({write_tool, dir / "s", "--files", dir / "a", dir / "b", dir / "c", dir / "d"}).status() == 0);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"alpha\nbeta\n", "", binary, large});
}

TEST_CASE("a signal ends it while it waits for somebody to write to a FIFO") {
    for (const std::string option : {"--files", "--resume"}) {
        const temp_dir dir;
        REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
        running tool({write_tool, dir / "s", option, dir / "fifo"});
        while (!reader::open(dir / "s") || !reader::open(dir / "s")->writer().alive)
            ::usleep(500);
        tool.kill(SIGTERM);
        CHECK(tool.wait().status() == 128 + SIGTERM);
        CHECK(reader::open(dir / "s")->info().clean);
    }
}

TEST_CASE("a FIFO that is written to later is read to its end") {
    for (const std::string option : {"--files", "--resume"}) {
        const temp_dir dir;
        REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
        running tool({write_tool, dir / "s", option, dir / "fifo"});
        while (!reader::open(dir / "s") || !reader::open(dir / "s")->writer().alive)
            ::usleep(500);
        // Opened before anything is written to it, so that the tool waits on a FIFO with a writer too.
        CHECK(shell("exec > '" + (dir / "fifo").string() + "'; printf 'a\\n'; sleep 0.05; printf 'b\\nc'").status() ==
              0);
        CHECK(tool.wait().status() == 0);
        CHECK(entries_of(dir / "s") ==
              (option == "--files" ? std::vector<std::string>{"a\nb\nc"} : std::vector<std::string>{"a", "b", "c"}));
    }
}

TEST_CASE("a missing file is noticed before anything is made") {
    const temp_dir dir;
    write_text(dir / "a", "x");
    const auto got = run({write_tool, dir / "s", "--files", dir / "a", dir / "none"});
    CHECK(got.status() == 4);
    CHECK(got.says("none: No such file"));
    CHECK_FALSE(std::filesystem::exists(dir / "s"));
    CHECK(run({write_tool, dir / "s", "--files", dir.path()}).status() == 4);
}

TEST_CASE("a command's lines are appended, and its status is passed on") {
    const temp_dir dir;
    const auto fine = run({write_tool, dir / "s", "--", "printf", "a\\nb\\n--help\\nc"});
    CHECK(fine.status() == 0);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"a", "b", "--help", "c"});

    const auto failing = run({write_tool, dir / "s", "--", "sh", "-c", "echo d; exit 42"});
    CHECK(failing.status() == 42);
    CHECK(failing.says("status 42"));
    CHECK(entries_of(dir / "s").back() == "d");

    const auto killed = run({write_tool, dir / "s", "--", "sh", "-c", "echo e; kill -KILL $$"});
    CHECK(killed.status() == 128 + SIGKILL);
    CHECK(entries_of(dir / "s").back() == "e");

    CHECK(run({write_tool, dir / "s", "--", "/no/such/command"}).status() == 127);
    write_text(dir / "not-executable", "x");
    CHECK(run({write_tool, dir / "s", "--", dir / "not-executable"}).status() == 126);
    CHECK(entries_of(dir / "s").size() == 6);
    CHECK(reader::open(dir / "s")->info().clean);
}

TEST_CASE("a command that prints more than the region holds is ended") {
    const temp_dir dir;
    const auto got = run({write_tool, dir / "s", "--size", "1M", "--", "yes"});
    CHECK(got.status() == 5);
    CHECK(entries_of(dir / "s").size() > 10'000);
}

TEST_CASE("a command is ended with the tool, and its last words are appended") {
    const temp_dir dir;
    running tool({write_tool, dir / "s", "--", "bash", "-c",
                  "trap 'echo last words; exit 3' TERM; echo ready; while :; do sleep 0.01; done"});
    const auto reader = [&] {
        for (;;)
            if (auto opened = reader::open(dir / "s"); opened && opened->find("main"))
                return *opened;
    }();
    auto cursor = reader.follow(*reader.find("main")).value();
    REQUIRE(cursor.wait().value().has_value());
    tool.kill(SIGTERM);
    const auto got = tool.wait();
    CHECK(got.status() == 128 + SIGTERM);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"ready", "last words"});
    CHECK(reader.info().clean);
}

TEST_CASE("signals that are ignored where the tool is started end it and its command, SIGHUP excepted") {
    for (const int signal : {SIGINT, SIGTERM}) {
        const temp_dir dir;
        running tool({"bash", "-c", "trap '' INT TERM HUP; exec \"$@\"", "bash", write_tool, dir / "s", "--", "bash",
                      "-c", "trap 'echo told; exit' INT TERM; echo ready; while :; do sleep 0.01; done"});
        while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").empty())
            ::usleep(500);
        tool.kill(SIGHUP);  // as nohup has it
        tool.kill(signal);
        CHECK(tool.wait().status() == 128 + signal);
        CHECK(entries_of(dir / "s") == std::vector<std::string>{"ready", "told"});
        CHECK(reader::open(dir / "s")->info().clean);
    }
}

TEST_CASE("each line is visible before the next one is sent") {
    const temp_dir dir;
    running tool({write_tool, dir / "s"});
    tool.send("line 0\n");
    const auto reader = [&] {
        for (;;)
            if (auto opened = reader::open(dir / "s"); opened && opened->find("main"))
                return *opened;
    }();
    auto cursor = reader.follow(*reader.find("main")).value();
    for (int i = 0; i < 200; ++i) {
        const auto got = cursor.wait().value();
        REQUIRE(got.has_value());
        const auto payload = got->payload();
        CHECK(std::string(reinterpret_cast<const char*>(payload.data()), payload.size()) ==
              "line " + std::to_string(i));
        // A line in two halves is one line.
        tool.send("line ");
        tool.send(std::to_string(i + 1) + "\n");
    }
    CHECK(tool.wait().status() == 0);
    CHECK(entries_of(dir / "s").size() == 201);
}

TEST_CASE("a signal ends it cleanly: whole lines are appended, half a line is not, the stream is closed") {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        const temp_dir dir;
        running tool({write_tool, dir / "s"});
        tool.send("one\ntwo\nhal");
        while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").size() < 2)
            ::usleep(500);
        tool.kill(signal);
        const auto got = tool.wait();
        CHECK(got.status() == 128 + signal);
        CHECK(got.says("2 entries"));
        CHECK(got.says("incomplete line"));
        CHECK(entries_of(dir / "s") == std::vector<std::string>{"one", "two"});
        CHECK(reader::open(dir / "s")->info().clean);
    }
}

TEST_CASE("a signal ends it although its input never pauses") {
    const temp_dir dir;
    running tool({write_tool, dir / "s", "--size", "512M", "--", "yes", std::string(100, 'y')});
    while (!reader::open(dir / "s") || to_uint(reader::open(dir / "s")->committed()) < 1000)
        ;
    tool.kill(SIGTERM);
    CHECK(tool.wait().status() == 128 + SIGTERM);
    CHECK(reader::open(dir / "s")->info().clean);
    CHECK(reader::open(dir / "s")->describe(*reader::open(dir / "s")->find("main"))->free_bytes() > 0);
}

TEST_CASE("a signal during a pace appends what was read from a pipe, at once") {
    const temp_dir dir;
    running tool({write_tool, dir / "s", "--pace", "0.01"});
    tool.send(numbered_lines(50));
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").empty())
        ::usleep(500);
    // The first line was appended, so all 50 were read; the second's turn comes in 100 s.
    tool.kill(SIGTERM);
    CHECK(tool.wait().status() == 128 + SIGTERM);
    CHECK(entries_of(dir / "s").size() == 50);
}

TEST_CASE("a pace appends everything, and not before its time") {
    const temp_dir dir;
    const auto begin = std::chrono::steady_clock::now();
    CHECK(run({write_tool, dir / "s", "--pace", "200"}, {.input = numbered_lines(41)}).status() == 0);
    // The only promise of a pace is the least time it takes: 40 steps of 5 ms.
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(200));
    CHECK(entries_of(dir / "s").size() == 41);
}

TEST_CASE("a second writer is refused with status 6, or waits for the lock") {
    const temp_dir dir;
    std::optional<running> first;
    first.emplace(words{write_tool, dir / "s"});
    first->send("first\n");
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").empty())
        ::usleep(500);
    const auto refused = run({write_tool, dir / "s"}, {.input = "refused\n"});
    CHECK(refused.status() == 6);
    CHECK(refused.says(std::to_string(first->pid())));
    CHECK(refused.says("--wait-lock"));
    running waiting({write_tool, dir / "s", "--wait-lock"}, {.input = "waited\n"});
    first->kill(SIGKILL);
    first.reset();
    CHECK(waiting.wait().status() == 0);
    CHECK(entries_of(dir / "s") == std::vector<std::string>{"first", "waited"});

    const auto reader = reader::open(dir / "s").value();
    const auto blocked = reader.block_writers().value();
    CHECK(run({write_tool, dir / "s"}, {.input = "blocked\n"}).status() == 6);
}

TEST_CASE("input that cannot be read is an error, not an end") {
    const temp_dir dir;
    const std::string stream = (dir / "s").string();
    CHECK(shell("$WRITE '" + stream + "' <&-").status() == 4);
    const auto directory = shell("$WRITE '" + stream + "' < /");
    CHECK(directory.status() == 4);
    CHECK(directory.says("standard input: Is a directory"));
    CHECK(run({write_tool, dir / "no" / "s"}, {.input = "x\n"}).status() == 4);
}

TEST_CASE("an endless producer ends when the region is full") {
    const temp_dir dir;
    const auto got = shell("yes | $WRITE '" + (dir / "s").string() + "' --size 256K; echo ${PIPESTATUS[@]}");
    CHECK(got.out == std::to_string(128 + SIGPIPE) + " 5\n");
}

TEST_CASE("progress is shown on a terminal only") {
    const temp_dir dir;
    const std::string stream = (dir / "s").string();
    // script(1) gives the tool a terminal.
    const auto got = shell("script -qec \"seq 1000 | $WRITE '" + stream + "'\" /dev/null");
    CHECK(got.status() == 0);
    CHECK_MESSAGE(got.out.find("1000 entries (2.8 KiB) appended") != std::string::npos, got.out);
    const auto redirected =
        shell("script -qec \"seq 1000 | $WRITE '" + stream + "' 2> '" + stream + ".err'\" /dev/null");
    CHECK(redirected.status() == 0);
    CHECK(redirected.out.empty());
    CHECK(read_text(stream + ".err").empty());
    CHECK(entries_of(dir / "s").size() == 2000);
}
