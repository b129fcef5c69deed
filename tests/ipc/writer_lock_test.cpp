// Who may write, and when: the lock goes with its process, and with nothing else.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <array>
#include <cerrno>
#include <optional>

using namespace pmemstream;
using namespace pmemstream::test;

extern char** environ;

namespace {

struct board {
    std::atomic<bool> start{false};
    std::atomic<bool> ready{false};
    std::atomic<bool> end{false};
    std::atomic<std::uint64_t> appended{0};
    std::atomic<unsigned> calls{0};
    std::atomic<pid_t> grandchild{0};
    std::atomic<unsigned> grandchild_says{0};
};

void make_stream(const std::filesystem::path& path) {
    must(create(path, {.stream_bytes = 8 << 20}));
    const auto w = must(writer::open(path));
    (void)must(w->allocate(6 << 20, "all"));
}

constexpr entry_plan plan(7, 60);

/// A process that opens the writer and appends until it is ended.
child writing_process(const std::filesystem::path& path, board& b) {
    return child([&] {
        const auto w = must(writer::open(path));
        const auto all = must(w->find("all"));
        payload_buffer buffer;
        for (std::uint64_t n = must(w->describe(all)).used_bytes == 0 ? 0 : b.appended.load(); !b.end; ++n) {
            if (n < 50'000)
                (void)must(w->append(all, buffer.make(plan, n)));
            else
                ::usleep(100);
            b.appended = std::min<std::uint64_t>(n + 1, 50'000);
            b.ready = true;
        }
        return 0;
    });
}

std::string pid_text(pid_t pid) {
    return "pid " + std::to_string(pid);
}

}  // namespace

TEST_CASE("a second writer is refused with the pid of the first, and let in at once when that is killed") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    const unsigned rounds = scaled(20);
    unsigned refusals = 0;
    const shared_memory<board> b;
    for (unsigned round = 0; round < rounds; ++round) {
        b->ready = false;
        b->appended = 0;
        auto first = writing_process(path, *b);
        REQUIRE(eventually([&] { return b->ready.load(); }));
        const auto refused = writer::open(path);
        REQUIRE(code_of(refused) == "writer_busy");
        CHECK(message_of(refused).find(pid_text(first.pid())) != std::string::npos);
        CHECK(message_of(refused).find(path.string()) != std::string::npos);
        ++refusals;
        first.kill(SIGKILL);
        REQUIRE(first.wait().signalled);
        const std::uint64_t reported = b->appended;

        const auto w = must(writer::open(path));  // once, without waiting
        CHECK(w->recovery().found == recovery_report::state::process_died);
        const auto all = must(w->find("all"));
        const auto from = must(reader::open(path));
        auto cursor = must(from.follow(all, {.check_crc = true}));
        std::uint64_t n = 0;
        for (const auto& e : cursor)
            REQUIRE(plan.matches(e.payload(), n++));
        CHECK(cursor.status().has_value());
        CHECK(n >= reported);
        CHECK(n <= reported + 1);
        (void)must(w->clear(all, true));
    }
    CHECK(refusals == rounds);
}

TEST_CASE("a second writer in the same process is refused, and closing other descriptors of the file frees no lock") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    auto w = must(writer::open(path));
    const auto all = must(w->find("all"));
    for (int i = 0; i < 3; ++i) {
        const auto again = writer::open(path);
        REQUIRE(code_of(again) == "writer_busy");
        CHECK(message_of(again).find(pid_text(::getpid())) != std::string::npos);
        { const auto from = must(reader::open(path)); }
        ::close(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    }
    auto elsewhere = child([&] {
        const auto refused = writer::open(path);
        demand(code_of(refused) == "writer_busy", "another process is told " + code_of(refused) + message_of(refused));
        return 0;
    });
    CHECK(elsewhere.wait().code == 0);
    (void)must(w->append(all, {}));
    must(w->close());
    CHECK(code_of(writer::open(path)) == "ok");
}

TEST_CASE("a reader may keep the next writer out, but touches no running one") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    const auto from = must(reader::open(path));
    {
        const auto w = must(writer::open(path));
        CHECK(code_of(from.block_writers()) == "writer_busy");
        (void)must(w->append(must(w->find("all")), {}));
    }
    const auto epoch = from.info().epoch;
    auto held = must(from.block_writers());
    auto second = must(from.block_writers());  // readers do not exclude one another
    CHECK(code_of(writer::open(path)) == "blocked_by_reader");
    held.reset();
    CHECK(code_of(writer::open(path)) == "blocked_by_reader");
    second.reset();
    CHECK(from.info().epoch == epoch);  // the refused ones changed nothing
    CHECK(from.info().clean);
    CHECK(code_of(writer::open(path)) == "ok");

    SUBCASE("until it is killed") {
        const shared_memory<board> b;
        auto blocking = child([&] {
            const auto here = must(reader::open(path));
            const auto lock = must(here.block_writers());
            b->ready = true;
            demand_eventually([&] { return b->end.load(); }, "the end");
            return 0;
        });
        REQUIRE(eventually([&] { return b->ready.load(); }));
        CHECK(code_of(writer::open(path)) == "blocked_by_reader");
        blocking.kill(SIGKILL);
        REQUIRE(blocking.wait().signalled);
        CHECK(code_of(writer::open(path)) == "ok");
    }
    SUBCASE("in the parent, not in a forked child of it") {
        held = must(from.block_writers());
        const shared_memory<board> b;
        auto heir = child([&] {
            b->ready = true;
            demand_eventually([&] { return b->end.load(); }, "the end");
            return 0;
        });
        REQUIRE(eventually([&] { return b->ready.load(); }));
        CHECK(code_of(writer::open(path)) == "blocked_by_reader");
        held.reset();
        CHECK(code_of(writer::open(path)) == "ok");
        b->end = true;
        heir.wait();
    }
}

namespace {

/// In a forked child of the writer's process: every call is refused, and nothing happens to the stream.
void try_everything(std::unique_ptr<writer> w, std::array<reservation, 3> claims, region all, board& b) {
    const auto refused = [&](const auto& answer) {
        demand(code_of(answer) == "wrong_process", "a forked child is refused, not told " + code_of(answer));
        ++b.calls;
    };
    const std::span<const std::byte> bytes = std::as_bytes(std::span("not to be written"));
    refused(w->append(all, bytes));
    refused(w->append_batch(all, std::array{bytes, bytes}));
    refused(w->reserve(all, 8));
    refused(w->publish(std::move(claims[0])));
    refused(w->abandon(std::move(claims[1])));
    refused(w->allocate(100));
    refused(w->clear(all, true));
    refused(w->free(all, true));
    refused(w->find("all"));
    refused(w->describe(all));
    refused(w->regions());
    refused(w->close());
    refused(w->append(all, bytes));
    claims[2] = {};
    w.reset();
}

}  // namespace

TEST_CASE("a forked child neither writes nor keeps the lock") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    const shared_memory<board> b;
    const pid_t test = ::getpid();
    auto parent = child([&] {
        auto w = must(writer::open(path));
        const auto all = must(w->find("all"));
        std::array claims{must(w->reserve(all, 8)), must(w->reserve(all, 8)), must(w->reserve(all, 8))};
        const pid_t pid = ::fork();
        demand(pid >= 0, "fork");
        if (pid == 0) {
            try_everything(std::move(w), std::move(claims), all, *b);
            b->grandchild_says = 1;
            // Outlives its parent; also goes when the test does.
            while (!b->end && ::kill(test, 0) == 0)
                ::usleep(1000);
            ::_exit(0);
        }
        b->grandchild = pid;
        demand_eventually([&] { return b->grandchild_says == 1 || ::waitpid(pid, nullptr, WNOHANG) != 0; },
                          "the child tried everything");
        demand(b->grandchild_says == 1, "the child lives");
        // What the child did harmed neither the writer nor the reservations.
        for (auto& claim : claims)
            (void)must(w->publish(std::move(claim)));
        (void)must(w->append(all, {}));
        b->ready = true;
        for (;;)
            ::pause();
        return 0;
    });
    REQUIRE(eventually([&] { return b->ready.load() || parent.poll().has_value(); }));
    REQUIRE(b->ready);
    CHECK(b->calls == 13);
    CHECK(code_of(writer::open(path)) == "writer_busy");
    REQUIRE(::kill(b->grandchild, 0) == 0);
    parent.kill(SIGKILL);
    REQUIRE(parent.wait().signalled);
    REQUIRE(::kill(b->grandchild, 0) == 0);  // it lives and does not hold the lock
    {
        const auto w = must(writer::open(path));
        CHECK(w->recovery().found == recovery_report::state::process_died);
        const auto info = must(w->describe(must(w->find("all"))));
        CHECK(to_uint(info.committed) == 4);
        CHECK(info.used_bytes == 3 * (16 + 8) + 16);
        (void)must(w->append(info.handle, {}));
    }
    b->end = true;
}

TEST_CASE("a forked child reads its parent's stream, and leaves the parent's closed writer alone") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    auto w = must(writer::open(path));
    const auto all = must(w->find("all"));
    payload_buffer buffer;
    for (std::uint64_t n = 0; n < 10; ++n)
        (void)must(w->append(all, buffer.make(plan, n)));
    bool closed = false;
    SUBCASE("beside the writer") {}
    SUBCASE("after it") {
        closed = true;
        must(w->close());
    }
    auto heir = child([&] {
        // Mappings of the same size: the place that the parent's has left seems free to the kernel.
        std::vector<reader> readers;
        for (int i = 0; i < 3; ++i)
            readers.push_back(must(reader::open(path)));
        // So may the child's own memory lie there.
        std::vector<std::string> memory(4, std::string(8 << 20, 'x'));
        if (closed)
            w.reset();
        for (const auto& m : memory)
            demand(std::count(m.begin(), m.end(), 'x') == 8 << 20, "the child's memory is untouched");
        for (const auto& from : readers) {
            auto cursor = must(from.follow(all));
            for (std::uint64_t n = 0; n < 10; ++n)
                demand(plan.matches(must(cursor.next())->payload(), n), "the parent's entries");
            demand(from.writer().alive == !closed, "the parent's writer");
        }
        return 0;
    });
    const auto end = heir.wait();
    CHECK_FALSE(end.signalled);
    CHECK(end.code == 0);
}

TEST_CASE("asking for information in a forked child does not end it") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    const auto w = must(writer::open(path));
    auto heir = child([&] {
        (void)w->info();
        (void)w->recovery();
        (void)w->doorbell_rings();
        return 0;
    });
    const auto end = heir.wait();
    CHECK_FALSE(end.signalled);
    CHECK(end.code == 0);
}

TEST_CASE("a program that the writer's process starts does not inherit the lock") {
    const temp_dir dir;
    const auto path = dir / "stream";
    make_stream(path);
    const shared_memory<board> b;
    // The program ends when this pipe does.
    int input[2];
    REQUIRE(::pipe2(input, O_CLOEXEC) == 0);
    auto parent = child([&] {
        const auto w = must(writer::open(path));
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, input[0], 0);
        std::string program = "cat";
        char* arguments[] = {program.data(), nullptr};
        pid_t pid = 0;
        demand(::posix_spawnp(&pid, "cat", &actions, nullptr, arguments, environ) == 0, "starting cat");
        b->grandchild = pid;
        b->ready = true;
        for (;;)
            ::pause();
        return 0;
    });
    REQUIRE(eventually([&] { return b->ready.load(); }));
    CHECK(code_of(writer::open(path)) == "writer_busy");
    parent.kill(SIGKILL);
    REQUIRE(parent.wait().signalled);
    REQUIRE(::kill(b->grandchild, 0) == 0);
    CHECK(code_of(writer::open(path)) == "ok");
    ::close(input[0]);
    ::close(input[1]);
}
