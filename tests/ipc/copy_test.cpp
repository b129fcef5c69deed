// A copy made by cp: of a stream in use it is recovered, entry by entry; of a closed one it is as good as the original.
#include "tests/ipc/crowd.hpp"

#include <doctest/doctest.h>
#include <spawn.h>
#include <sys/wait.h>

using namespace pmemstream;
using namespace pmemstream::test;

extern char** environ;

namespace {

void copy_with_cp(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::string arguments[] = {"cp", from.string(), to.string()};
    char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(), nullptr};
    pid_t pid = 0;
    int status = 0;
    REQUIRE(::posix_spawnp(&pid, "cp", nullptr, nullptr, argv, environ) == 0);
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
}

/// Reads as far as it goes; every entry is right.
std::uint64_t count_right_entries(const std::filesystem::path& path, std::string& ended) {
    const auto from = must(reader::open(path));
    auto cursor = must(from.follow(must(from.find("all")), {.check_crc = true}));
    std::uint64_t n = 0;
    bool right = true;
    for (const auto& e : cursor)
        right = right && crowd_plan.matches(e.payload(), n++);
    CHECK(right);
    ended = code_of(cursor.status());
    return n;
}

struct board {
    std::atomic<std::uint64_t> allowed{0};  // as many entries, or the region would be full before a slow test has ended
    std::atomic<std::uint64_t> begun{0};    // at most as many are committed
    std::atomic<std::uint64_t> committed{0};
    std::atomic<bool> end{false};
};

/// What the writer may append from one copy to the next.
constexpr std::uint64_t allowance = 2000;

}  // namespace

TEST_CASE("a copy of a stream in use is recovered as a copy and not trusted, and the original goes on") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 40 << 20}));
    std::uint64_t persisted = 0;
    SUBCASE("of which nothing is persisted") {
        const auto w = must(writer::open(path));
        // Blocks with an earlier life: what is in them must not come back in a copy.
        const auto before = must(w->allocate(36 << 20));
        crowd_feeder(*w, before, 1).append(50'000);
        must(w->free(before));
        (void)must(w->allocate(38 << 20, "all"));
    }
    SUBCASE("of which a part is persisted by a clean close") {
        const auto w = must(writer::open(path));
        crowd_feeder feed(*w, must(w->allocate(38 << 20, "all")), 1);
        feed.append(5000);
        persisted = feed.appended();
    }
    const shared_memory<board> b;
    b->committed = persisted;
    b->allowed = persisted + allowance;
    auto writing = child([&] {
        const auto w = must(writer::open(path));
        const auto all = must(w->find("all"));
        payload_buffer buffer;
        for (std::uint64_t n = persisted; !b->end;) {
            if (n % 16 == 0 || n >= b->allowed)
                ::usleep(100);
            if (n >= b->allowed)
                continue;
            b->begun = n + 1;
            (void)must(w->append(all, buffer.make(crowd_plan, n)));
            b->committed = ++n;
        }
        return 0;
    });
    REQUIRE(eventually([&] { return b->committed > persisted + 100; }));
    const unsigned rounds = scaled(10);
    for (unsigned beside_writer = 0; beside_writer < rounds;) {
        REQUIRE_FALSE(writing.poll().has_value());
        const auto copy = dir / "copy";
        const std::uint64_t before = b->committed;
        b->allowed = before + allowance;
        copy_with_cp(path, copy);
        beside_writer += b->committed > before;
        const std::uint64_t begun = b->begun;
        // A reader sees right entries, or is told where it ends; it recovers nothing.
        std::string ended;
        CHECK(count_right_entries(copy, ended) <= begun);
        {
            const auto w = must(writer::open(copy));
            CHECK(w->recovery().found == recovery_report::state::rescanned);
            CHECK(w->recovery().entries_recovered >= before - persisted);
            const auto all = must(w->find("all"));
            const auto n = count_right_entries(copy, ended);
            CHECK(ended == "ok");
            CHECK(n >= before);
            CHECK(n == persisted + w->recovery().entries_recovered);
            // It is a stream of its own from here on.
            payload_buffer buffer;
            for (std::uint64_t more = n; more < n + 10; ++more)
                REQUIRE(code_of(w->append(all, buffer.make(crowd_plan, more))) == "ok");
            CHECK(count_right_entries(copy, ended) == n + 10);
        }
        CHECK(must(writer::open(copy))->recovery().found == recovery_report::state::clean);
        std::filesystem::remove(copy);
        std::filesystem::remove(control_path(copy));
    }
    CHECK(code_of(writer::open(path)) == "writer_busy");
    const auto went_on = b->committed.load();
    b->allowed = went_on + allowance;
    CHECK(eventually([&] { return b->committed > went_on; }));
    b->end = true;
    CHECK(writing.wait().code == 0);
    std::string ended;
    CHECK(count_right_entries(path, ended) == b->committed);
    CHECK(ended == "ok");
    CHECK(must(writer::open(path))->recovery().found == recovery_report::state::clean);
}

TEST_CASE("a copy of a killed writer's stream is recovered as a copy, the original as what it is") {
    const temp_dir dir;
    const auto path = dir / "stream", copy = dir / "copy";
    must(create(path, {.stream_bytes = 4 << 20}));
    auto writing = child([&] {
        const auto w = must(writer::open(path));
        crowd_feeder(*w, must(w->allocate(3 << 20, "all")), 1).append(1000);
        ::raise(SIGKILL);
        return 0;
    });
    REQUIRE(writing.wait().code == SIGKILL);
    copy_with_cp(path, copy);
    const auto of_copy = must(writer::open(copy));
    CHECK(of_copy->recovery().found == recovery_report::state::rescanned);
    CHECK(of_copy->recovery().entries_recovered == 1000);
    CHECK(of_copy->recovery().regions_cut == 0);
    const auto original = must(writer::open(path));
    CHECK(original->recovery().found == recovery_report::state::process_died);
    std::string ended;
    CHECK(count_right_entries(copy, ended) == 1000);
    CHECK(count_right_entries(path, ended) == 1000);
}

TEST_CASE("a copy of a closed stream is clean") {
    const temp_dir dir;
    const auto path = dir / "stream", copy = dir / "copy";
    must(create(path, {.stream_bytes = 1 << 20}));
    {
        const auto w = must(writer::open(path));
        crowd_feeder(*w, must(w->allocate(500'000, "all")), 1).append(100);
    }
    copy_with_cp(path, copy);
    copy_with_cp(control_path(path), control_path(copy));  // as cp -r does; it is nobody's
    CHECK(must(reader::open(copy)).info().clean);
    const auto w = must(writer::open(copy));
    CHECK(w->recovery().found == recovery_report::state::clean);
    std::string ended;
    CHECK(count_right_entries(copy, ended) == 100);
    CHECK(ended == "ok");
}
