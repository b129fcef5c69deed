// pmemstream-inspect tail -f, beside real writers.
#include "tests/support/eventually.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <pmemstream/writer.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

words follow(const std::filesystem::path& file, words more = {}) {
    words all{inspect_tool, "tail", "-f", "--wait", file};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

}  // namespace

TEST_CASE("each entry is seen at once, and SIGINT, SIGTERM and SIGHUP end it with status 0") {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        const temp_dir dir;
        running all(follow(dir / "s", {"--from", "start"}));
        running one(follow(dir / "s", {"--from", "start", "-r", "main"}));
        running writer({write_tool, dir / "s"});
        for (int i = 0; i < 100; ++i) {
            const std::string text = "line " + std::to_string(i);
            writer.send(text + "\n");
            // Both have shown it, and nothing after it was sent.
            CHECK(all.line() == text);
            CHECK(one.line() == text);
        }
        for (auto* tool : {&all, &one}) {
            tool->kill(signal);
            const auto got = tool->wait();
            CHECK(got.status() == 0);
            CHECK(got.out.empty());
            CHECK(got.err.empty());
        }
        CHECK(writer.wait().status() == 0);
    }
}

TEST_CASE("without --from it begins with the last entries, with --from end behind them") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s"}, {.input = numbered_lines(20)}).status() == 0);
    running last(follow(dir / "s"));
    for (int i = 11; i <= 20; ++i)
        CHECK(last.line() == std::to_string(i));
    running two(follow(dir / "s", {"-n", "2"}));
    CHECK(two.line() == "19");
    CHECK(two.line() == "20");
    running none(follow(dir / "s", {"--from", "end"}));
    running after(follow(dir / "s", {"--after", "18", "-n", "3"}));
    CHECK(after.line() == "19");
    CHECK(after.line() == "20");
    // The one from the end shows nothing to wait for: it is there once its cursor is registered.
    for (;;) {
        const auto got = run({inspect_tool, "readers", "--json", dir / "s"});
        std::size_t registered = 0;
        for (std::size_t at = got.out.find("\"pid\""); at != std::string::npos; at = got.out.find("\"pid\"", at + 1))
            ++registered;
        if (registered == 4)
            break;
    }
    CHECK(run({write_tool, dir / "s"}, {.input = "new\n"}).status() == 0);
    CHECK(last.line() == "new");
    CHECK(two.line() == "new");
    CHECK(none.line() == "new");
    CHECK(after.line() == "new");
    CHECK(after.wait().status() == 0);  // its three entries were shown
}

TEST_CASE("it follows from one writer to the next, killed or not, and sees every entry once") {
    const temp_dir dir;
    running tail(follow(dir / "s", {"--from", "start"}));
    std::uint64_t seen = 0;
    for (int round = 0; round < 20; ++round) {
        running writer({write_tool, dir / "s"});
        const int lines = 1 + round * 7 % 50;
        for (int i = 0; i < lines; ++i)
            writer.send(std::to_string(seen + static_cast<std::uint64_t>(i)) + "\n");
        for (int i = 0; i < lines; ++i)
            CHECK(tail.line() == std::to_string(seen++));
        if (round % 2 == 0)
            writer.kill(SIGKILL);
    }
    CHECK(seen > 200);
    tail.kill(SIGTERM);
    CHECK(tail.wait().status() == 0);
}

TEST_CASE("a reader of the pipe that leaves ends it: busy, and idle with nothing to write") {
    const temp_dir dir;
    running writer({"bash", "-c", "exec \"$0\" \"$1\"", write_tool, dir / "s"});
    writer.send("one\ntwo\n");
    running idle(follow(dir / "s", {"--from", "start"}));
    CHECK(idle.line() == "one");
    CHECK(idle.line() == "two");
    idle.leave_output();
    const auto got = idle.wait();
    CHECK(got.status() == 0);
    CHECK(got.err.empty());
    const auto head =
        shell("$INSPECT tail -f --from start '" + (dir / "s").string() + "' | head -n 1; echo ${PIPESTATUS[@]}");
    CHECK(head.out == "one\n0 0\n");
    CHECK(head.err.empty());
    // Before the stream is there, too.
    CHECK(shell("$INSPECT tail -f --wait '" + (dir / "none").string() + "' | true; echo ${PIPESTATUS[0]}").out ==
          "0\n");
}

TEST_CASE("a reader of the pipe that does not read keeps no signal away") {
    const temp_dir dir;
    // More than a pipe holds, so that it hangs in its output.
    write_text(dir / "input", numbered_lines(200'000));
    CHECK(run({write_tool, dir / "s", "--resume", dir / "input"}).status() == 0);
    running tail(follow(dir / "s", {"--from", "start"}));
    CHECK(tail.line() == "1");
    tail.kill(SIGTERM);
    child_exit got{};
    // wait() would read what it has to say; here it must end while nobody does.
    while (::kill(tail.pid(), 0) == 0) {
        siginfo_t info{};
        if (::waitid(P_PID, static_cast<id_t>(tail.pid()), &info, WEXITED | WNOWAIT) == 0) {
            got = {info.si_code != CLD_EXITED, info.si_status};
            break;
        }
    }
    CHECK_FALSE(got.signalled);
    CHECK(got.code == 0);
}

namespace {

/// Until a reader sleeps in its slot of the control file. One that has shown an entry may still have to attach it.
[[nodiscard]] bool sleeps_registered(const std::filesystem::path& file) {
    return eventually([&] {
        const auto readers = reader::open(file)->registered();
        return readers && readers->size() == 1 && readers->front().asleep;
    });
}

}  // namespace

TEST_CASE("a control file that is truncated costs a warning and no entry") {
    for (const bool one_region : {false, true}) {
        const temp_dir dir;
        running writer({write_tool, dir / "s"});
        writer.send("before\n");
        auto options = words{"--from", "start"};
        if (one_region)
            options.insert(options.end(), {"-r", "main"});
        running tail(follow(dir / "s", options));
        CHECK(tail.line() == "before");
        REQUIRE(sleeps_registered(dir / "s"));
        // A stopped writer makes no new one, so the loss is there to be seen.
        writer.stop();
        REQUIRE(::truncate((dir / "s.ctl").c_str(), 0) == 0);
        CHECK(eventually([&] { return tail.err().find("control_lost") != std::string::npos; }));
        writer.kill(SIGCONT);
        for (int i = 0; i < 50; ++i) {
            writer.send(std::to_string(i) + "\n");
            CHECK(tail.line() == std::to_string(i));
        }
        CHECK(writer.wait().status() == 0);
        tail.kill(SIGTERM);
        const auto got = tail.wait();
        CHECK(got.status() == 0);
        CHECK(split_lines(got.err).size() == 1);
    }
}

TEST_CASE("a control file that is truncated when no writer is there is told once") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s"}, {.input = "one\n"}).status() == 0);
    running tail(follow(dir / "s", {"--from", "start"}));
    CHECK(tail.line() == "one");
    REQUIRE(sleeps_registered(dir / "s"));
    REQUIRE(::truncate((dir / "s.ctl").c_str(), 0) == 0);
    CHECK(eventually([&] { return tail.err().find("control_lost") != std::string::npos; }));
    running writer({write_tool, dir / "s"});
    for (int i = 0; i < 20; ++i) {
        writer.send("more\n");
        CHECK(tail.line() == "more");
    }
    tail.kill(SIGTERM);
    const auto got = tail.wait();
    CHECK(got.status() == 0);
    CHECK(split_lines(got.err).size() == 1);
}

TEST_CASE("a control file that is deleted, or was never there, costs nothing") {
    const temp_dir dir;
    running writer({write_tool, dir / "s"});
    writer.send("before\n");
    running tail(follow(dir / "s", {"--from", "start"}));
    CHECK(tail.line() == "before");
    std::filesystem::remove(dir / "s.ctl");
    running late(follow(dir / "s", {"--from", "start"}));
    CHECK(late.line() == "before");
    for (int i = 0; i < 50; ++i) {
        writer.send(std::to_string(i) + "\n");
        CHECK(tail.line() == std::to_string(i));
        CHECK(late.line() == std::to_string(i));
    }
    for (auto* tool : {&tail, &late}) {
        tool->kill(SIGTERM);
        const auto got = tool->wait();
        CHECK(got.status() == 0);
        CHECK(got.err.empty());
    }
}

TEST_CASE("a region that is cleared goes on, one that is freed ends it") {
    const temp_dir dir;
    REQUIRE(create(dir / "s", {.stream_bytes = 1 << 20}));
    const auto writer = writer::open(dir / "s").value();
    const std::vector<std::byte> payload(3, std::byte{'x'});
    auto region = writer->allocate(10'000, "r").value();
    const auto other = writer->allocate(10'000, "other").value();
    REQUIRE(writer->append(region, payload));
    running one(follow(dir / "s", {"--from", "start", "-r", "r"}));
    running all(follow(dir / "s", {"--from", "start"}));
    CHECK(one.line() == "xxx");
    CHECK(all.line() == "xxx");
    region = writer->clear(region, true).value();
    REQUIRE(writer->append(region, payload));
    CHECK(one.line() == "xxx");
    CHECK(all.line() == "xxx");
    REQUIRE(writer->free(region, true));
    REQUIRE(writer->append(other, payload));
    CHECK(all.line() == "xxx");
    const auto ended_one = one.wait();
    CHECK(ended_one.status() == 4);
    CHECK(ended_one.says("was cleared"));
    CHECK(ended_one.says("freed or cleared"));
    all.kill(SIGTERM);
    const auto ended_all = all.wait();
    CHECK(ended_all.status() == 0);
    CHECK(ended_all.says("going on with the others"));
}

TEST_CASE("--wait waits for the stream and the region; without it they must be there") {
    const temp_dir dir;
    CHECK(run({inspect_tool, "tail", "-f", dir / "s"}).status() == 4);
    running tail(follow(dir / "s", {"--from", "start", "-r", "late"}));
    CHECK(run({write_tool, dir / "s", "--region-size", "4K"}, {.input = "early\n"}).status() == 0);
    CHECK(run({inspect_tool, "tail", "-f", dir / "s", "-r", "late"}).status() == 4);
    CHECK(run({write_tool, dir / "s", "-r", "late"}, {.input = "here\n"}).status() == 0);
    CHECK(tail.line() == "here");
    running never(follow(dir / "never"));
    never.await_handler(SIGTERM);
    never.kill(SIGTERM);
    CHECK(never.wait().status() == 0);
}

TEST_CASE("it writes nothing, and does without the right to write anything") {
    if (::geteuid() != 0) {
        MESSAGE("not root: permissions of another user are not tested");
        return;
    }
    // Tools and library where any user may run them.
    const temp_dir place(std::filesystem::temp_directory_path());
    std::filesystem::permissions(place.path(), std::filesystem::perms{0755});
    std::filesystem::copy(inspect_tool, place / "inspect");
    std::filesystem::copy(PMEMSTREAM_LIBRARY, place / std::filesystem::path(PMEMSTREAM_LIBRARY).filename());
    const surroundings other{
        .input = {}, .as_user = nobody, .environment = {"LD_LIBRARY_PATH=" + place.path().string()}};

    const temp_dir dir;
    std::filesystem::permissions(dir.path(), std::filesystem::perms{0755});
    running writer({write_tool, dir / "s", "--mode", "0644"});
    writer.send("one\n");
    while (!reader::open(dir / "s") || !reader::open(dir / "s")->find("main") || entries_of(dir / "s").empty())
        ;
    std::filesystem::permissions(dir / "s", std::filesystem::perms{0444});
    running tail({place / "inspect", "tail", "-f", dir / "s"}, other);
    CHECK(tail.line() == "one");
    writer.send("two\n");
    CHECK(tail.line() == "two");
    for (const std::string command : {"info", "regions", "dump", "tail", "readers"}) {
        CAPTURE(command);
        const auto got = run({place / "inspect", command, dir / "s"}, other);
        CHECK_MESSAGE(got.status() == 0, got.err);
    }
    CHECK(run({place / "inspect", "dump", dir / "s"}, other).out == "one\ntwo\n");
    tail.kill(SIGTERM);
    CHECK(tail.wait().status() == 0);
    std::filesystem::permissions(dir / "s", std::filesystem::perms{0400});
    const auto refused = run({place / "inspect", "dump", dir / "s"}, other);
    CHECK(refused.status() == 4);
    CHECK(refused.says("Permission denied"));
    CHECK(writer.wait().status() == 0);
}

TEST_CASE("on the persisted horizon an entry is shown when it survives a loss of power, and not before") {
    const temp_dir dir;
    running plain({write_tool, dir / "s", "-r", "r"});
    plain.send("not persisted\n");
    running all(follow(dir / "s", {"--from", "start"}));
    running safe(follow(dir / "s", {"--from", "start", "--horizon", "persisted", "-r", "r"}));
    CHECK(all.line() == "not persisted");
    const words dump{inspect_tool, "dump", dir / "s", "--horizon"};
    const auto dumped = [&](const char* horizon) {
        auto with = dump;
        with.emplace_back(horizon);
        return run(with).out;
    };
    CHECK(dumped("committed") == "not persisted\n");
    CHECK(dumped("persisted").empty());
    CHECK(plain.wait().status() == 0);  // closing persists
    CHECK(safe.line() == "not persisted");
    CHECK(dumped("persisted") == "not persisted\n");
    SUBCASE("each at once") {
        running durable({write_tool, dir / "s", "-r", "r", "--durable"});
        for (int i = 0; i < 20; ++i) {
            durable.send(std::to_string(i) + "\n");
            CHECK(safe.line() == std::to_string(i));
        }
        CHECK(durable.wait().status() == 0);
    }
    SUBCASE("every few milliseconds") {
        running often({write_tool, dir / "s", "-r", "r", "--persist-every", "2"});
        for (int i = 0; i < 20; ++i) {
            often.send(std::to_string(i) + "\n");
            CHECK(safe.line() == std::to_string(i));
        }
        CHECK(often.wait().status() == 0);
    }
    CHECK(run({write_tool, dir / "s", "--durable", "--persist-every", "2"}).status() == 1);
    CHECK(run({write_tool, dir / "s", "--persist-every", "0"}).status() == 1);
    CHECK(run({inspect_tool, "dump", dir / "s", "--horizon", "sometime"}).status() == 1);
}
