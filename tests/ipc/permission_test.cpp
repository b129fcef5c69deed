// A reader needs nothing but leave to read: not to write to the stream, to its directory or to the control file.
#include "tests/ipc/crowd.hpp"
#include "tests/support/system_call_filter.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <fstream>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr uid_t nobody = 65534;

void become_nobody() {
    demand(::setgroups(0, nullptr) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0, "becoming another user");
    demand(::geteuid() == nobody && ::getegid() == nobody, "being another user");
}

/// Lines of /proc/self/maps that name the file.
std::vector<std::string> mappings_of(const std::filesystem::path& file) {
    std::ifstream maps("/proc/self/maps");
    demand(maps.good(), "reading /proc/self/maps");
    std::vector<std::string> found;
    for (std::string line; std::getline(maps, line);)
        if (line.size() > file.string().size() && line.ends_with(" " + file.string()))
            found.push_back(line);
    return found;
}

void demand_read_only_mappings(const std::filesystem::path& file) {
    const auto lines = mappings_of(file);
    demand(!lines.empty(), "the stream is mapped");
    for (const auto& line : lines)
        demand(line.find(" r--s ") != std::string::npos, "mapped for reading only: " + line);
}

/// How often the process went to sleep by itself.
std::uint64_t voluntary_switches(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    std::string word;
    while (status >> word)
        if (word == "voluntary_ctxt_switches:" && status >> word)
            return std::stoull(word);
    return 0;
}

void demand_powerless(const std::filesystem::path& file, int expected_errno) {
    demand(::open(file.c_str(), O_RDWR | O_CLOEXEC) < 0 && errno == expected_errno, "the stream cannot be written");
    demand(::open(control_path(file).c_str(), O_RDWR | O_CLOEXEC) < 0 && errno == expected_errno,
           "the control file cannot be written");
    const auto beside = file.parent_path() / "beside";
    demand(::open(beside.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == expected_errno,
           "nothing can be made beside it");
}

/// A directory others may pass and look at, but not write to.
struct shown_dir {
    temp_dir dir;
    shown_dir() { demand(::chmod(dir.path().c_str(), 0755) == 0, "chmod"); }
};

bool is_root(const char* what) {
    if (::geteuid() == 0)
        return true;
    MESSAGE("NOT TESTED, because this is not root: " << what);
    return false;
}

struct setup {
    shown_dir shown;
    std::filesystem::path path = shown.dir / "stream";
    shared_memory<crowd_board> b;
    std::vector<child> crowd;

    setup() { must(create(path, {.stream_bytes = 4 << 20, .file_mode = 0444})); }

    void feed_all(const writer_options& options = {}) {
        const auto w = must(writer::open(path, options));
        const auto all = must(w->allocate(3 << 20, "all"));
        b->begin = true;
        const auto readers = static_cast<unsigned>(crowd.size());
        REQUIRE(eventually([&] { return b->ready == readers; }));
        crowd_feeder feed(*w, all, 1);
        feed.append_unevenly(scaled(10'000));
        // Also what comes after an idle while, when a poller's pauses have grown.
        REQUIRE(eventually([&] { return b->all_have_seen(readers, feed.appended()); }));
        ::usleep(20'000);
        feed.finish(*b);
        CHECK(all_ended_well(crowd));
        CHECK(b->all_have_seen(readers, feed.appended()));
        rings = w->doorbell_rings();
    }
    std::uint64_t rings = 0;
};

}  // namespace

TEST_CASE("another user reads a stream of mode 0444 in a directory that only its owner may write") {
    if (!is_root("reading as another user"))
        return;
    setup s;
    for (unsigned self = 0; self < 3; ++self)
        s.crowd.push_back(follower(s.path, *s.b, self,
                                   {.merged = self == 1,
                                    .timeout = self == 2 ? std::chrono::milliseconds(1) : wait_for_ever,
                                    .before = become_nobody,
                                    .once_open = [&](const reader& from) {
                                        demand_powerless(s.path, EACCES);
                                        demand_read_only_mappings(s.path);
                                        demand(mappings_of(control_path(s.path)).empty(), "no control file");
                                        demand(code_of(writer::open(s.path)) == "no_permission", "no writer");
                                        demand(from.writer().alive, "the writer is seen");
                                        demand(from.registered().has_value(), "the slots can be looked at");
                                    }}));
    s.feed_all();
    for (unsigned self = 0; self < 3; ++self) {
        CHECK(s.b->control[self].load() == control_state::refused);
        CHECK_FALSE(s.b->registered[self].load());
    }
    // Its waits poll: nobody has to be rung for.
    CHECK(s.rings == 2);  // when the writer opened, for whoever slept before on either horizon
}

TEST_CASE("another user who may write the control file alone sleeps on the doorbell") {
    if (!is_root("sleeping on the doorbell as another user"))
        return;
    setup s;
    for (unsigned self = 0; self < 2; ++self)
        s.crowd.push_back(follower(
            s.path, *s.b, self, {.merged = self == 1, .before = become_nobody, .once_open = [&](const reader&) {
                                     demand_read_only_mappings(s.path);
                                     demand(!mappings_of(control_path(s.path)).empty(), "the control file is mapped");
                                 }}));
    s.feed_all({.control_mode = 0666});
    for (unsigned self = 0; self < 2; ++self) {
        CHECK(s.b->control[self].load() == control_state::attached);
        CHECK(s.b->registered[self].load());
    }
    CHECK(s.rings > 1);
}

TEST_CASE("another user cannot read what its mode keeps from them") {
    if (!is_root("being refused as another user"))
        return;
    const shown_dir shown;
    const auto path = shown.dir / "stream";
    must(create(path, {.stream_bytes = 1 << 20, .file_mode = 0600}));
    auto other = child([&] {
        become_nobody();
        demand(code_of(reader::open(path)) == "no_permission", "refused");
        return 0;
    });
    CHECK(other.wait().code == 0);
}

TEST_CASE("a reader works on a read-only bind mount") {
    if (!is_root("a read-only bind mount"))
        return;
    setup s;
    const auto mounted = s.shown.dir / "read-only";
    std::filesystem::create_directory(mounted);
    // In a mount namespace of its own, which ends with the process.
    const auto mount_read_only = [&] {
        demand(::unshare(CLONE_NEWNS) == 0, "unshare");
        demand(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "making mounts private");
        demand(::mount(s.shown.dir.path().c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr) == 0, "mount");
        demand(::mount(nullptr, mounted.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0, "remount");
    };
    auto trial = child([] { return ::unshare(CLONE_NEWNS) == 0 ? 0 : errno; });
    if (const int code = trial.wait().code; code != 0) {
        MESSAGE("NOT TESTED, because unshare(CLONE_NEWNS) failed with errno " << code << ": a read-only bind mount");
        return;
    }
    for (unsigned self = 0; self < 2; ++self)
        s.crowd.push_back(follower(s.path, *s.b, self,
                                   {.merged = self == 1,
                                    .before = mount_read_only,
                                    .once_open =
                                        [&](const reader& from) {
                                            demand_powerless(mounted / "stream", EROFS);
                                            demand_read_only_mappings(mounted / "stream");
                                            demand(from.writer().alive, "the writer is seen");
                                        },
                                    .path = mounted / "stream"}));
    s.feed_all();
    for (unsigned self = 0; self < 2; ++self)
        CHECK(s.b->control[self].load() == control_state::refused);
}

TEST_CASE("a reader of one's own maps the stream read-only too") {
    setup s;
    s.crowd.push_back(
        follower(s.path, *s.b, 0, {.once_open = [&](const reader&) { demand_read_only_mappings(s.path); }}));
    if (::geteuid() != 0)
        return;  // not even the owner may open a file of mode 0444 for writing
    s.feed_all();
    CHECK(s.b->control[0].load() == control_state::attached);
}

TEST_CASE("a reader told to leave the control file alone polls, and misses nothing") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 4 << 20}));
    const shared_memory<crowd_board> b;
    std::vector<child> crowd;
    crowd.emplace_back([&] {
        demand_eventually([&] { return b->begin.load(); }, "the region is there");
        const auto from = must(reader::open(path, {.without_control = true}));
        demand(from.control() == control_state::absent, "no control file is used");
        follow_plan(from, must(from.follow(must(from.find("all")), doorbell_only())), *b, 0, {});
        return 0;
    });
    crowd.push_back(follower(path, *b, 1));
    writer_options options;
    SUBCASE("beside one that does not") {}
    SUBCASE("nor does the writer make one") {
        options.without_control = true;
    }
    const auto w = must(writer::open(path, options));
    const auto all = must(w->allocate(3 << 20, "all"));
    b->begin = true;
    REQUIRE(eventually([&] { return b->ready == 2; }));
    crowd_feeder feed(*w, all, 1);
    feed.append_unevenly(scaled(10'000));
    REQUIRE(eventually([&] { return b->all_have_seen(2, feed.appended()); }));
    feed.finish(*b);
    CHECK(all_ended_well(crowd));
    CHECK_FALSE(b->registered[0].load());
    CHECK(std::filesystem::exists(control_path(path)) == !options.without_control);
    CHECK(b->registered[1].load() == !options.without_control);
    if (options.without_control)
        CHECK(b->control[1].load() == control_state::absent);
}

TEST_CASE("a reader whose kernel has no membarrier, or lets it not sleep on a futex, polls and misses nothing") {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 4 << 20}));
    const shared_memory<crowd_board> b;
    std::vector<child> crowd;
    crowd.push_back(follower(path, *b, 0, {.before = forget_membarrier}));
    crowd.push_back(follower(path, *b, 1, {.before = forget_futex_wait}));
    crowd.push_back(follower(path, *b, 2, {.merged = true, .before = forget_futex_wait}));
    const auto w = must(writer::open(path));
    const auto all = must(w->allocate(3 << 20, "all"));
    b->begin = true;
    REQUIRE(eventually([&] { return b->ready == 3; }));
    crowd_feeder feed(*w, all, 1);
    feed.append_unevenly(scaled(10'000));
    REQUIRE(eventually([&] { return b->all_have_seen(3, feed.appended()); }));
    // They wait without keeping a processor busy: polls sleep, and so give way.
    std::vector<std::uint64_t> switches;
    for (auto& c : crowd)
        switches.push_back(voluntary_switches(c.pid()));
    REQUIRE(eventually([&] {
        for (unsigned i = 0; i < crowd.size(); ++i)
            if (voluntary_switches(crowd[i].pid()) < switches[i] + 3)
                return false;
        return true;
    }));
    feed.finish(*b);
    CHECK(all_ended_well(crowd));
    for (unsigned self = 0; self < 3; ++self)
        CHECK(b->control[self].load() == control_state::refused);
}
