// The control file in the hands of somebody hostile, or gone: writer and readers stay right, at worst slower.
#include "ipc/control_file.hpp"
#include "tests/ipc/crowd.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cerrno>
#include <fstream>
#include <optional>

using namespace pmemstream;
using namespace pmemstream::test;
namespace fs = std::filesystem;

namespace {

/// A stream, its writer in this process, and readers that follow in theirs.
struct scene {
    temp_dir dir;
    fs::path path = dir / "stream";
    fs::path control = control_path(path);
    shared_memory<crowd_board> b;
    std::vector<child> crowd;
    std::uint64_t seed = seed_from_environment();
    std::unique_ptr<writer> w;
    region all;
    std::optional<reader> observer;
    std::optional<crowd_feeder> feed;

    scene() { must(create(path, {.stream_bytes = 16 << 20})); }

    void add(const follower_options& how) {
        crowd.push_back(follower(path, *b, static_cast<unsigned>(crowd.size()), how));
    }
    void open() {
        w = must(writer::open(path));
        all = must(w->allocate(15 << 20, "all"));
        observer.emplace(must(reader::open(path)));
        feed.emplace(*w, all, seed);
    }
    void begin() {
        b->begin = true;
        REQUIRE(eventually([&] { return b->ready == crowd.size(); }));
    }
    [[nodiscard]] bool all_have_seen() const {
        return b->all_have_seen(static_cast<unsigned>(crowd.size()), feed->appended());
    }
    void finish() {
        feed->finish(*b);
        CHECK(all_ended_well(crowd));
        CHECK(all_have_seen());
    }
};

/// Sleeps that end by themselves soon: whoever may write the control file may swallow a wake-up.
cursor_options bounded() {
    cursor_options options;
    options.spin = std::chrono::nanoseconds(0);
    options.sleep_max = std::chrono::milliseconds(5);
    return options;
}

/// A process that maps the control file for writing and does its worst to it until it is killed.
child hostile(const fs::path& control, const std::function<void(ipc::control_layout&, int fd)>& worst,
              std::atomic<bool>& at_work) {
    return child([&, worst]() -> int {
        const int fd = ::open(control.c_str(), O_RDWR | O_CLOEXEC);
        demand(fd >= 0, "opening the control file");
        void* got = ::mmap(nullptr, sizeof(ipc::control_layout), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        demand(got != MAP_FAILED, "mapping the control file");
        worst(*static_cast<ipc::control_layout*>(got), fd);
        at_work = true;
        for (;;)
            worst(*static_cast<ipc::control_layout*>(got), fd);
    });
}

}  // namespace

TEST_CASE("a control file scribbled over with random bytes makes nobody wrong") {
    scene s;
    const shared_memory<std::atomic<bool>> scribbling;
    s.add({.cursor = bounded()});
    s.add({.cursor = bounded(), .merged = true});
    s.add({.cursor = spinning(), .timeout = std::chrono::milliseconds(1)});
    // One that comes when the file is damaged already.
    s.crowd.emplace_back([&] {
        demand_eventually([&] { return s.b->seen[0] > 100; }, "the others are under way");
        const auto from = must(reader::open(s.path));
        follow_plan(from, must(from.follow(must(from.find("all")), bounded())), *s.b, 3, {});
        return 0;
    });
    s.open();
    std::mt19937_64 random(s.seed);
    auto scribbler = hostile(
        s.control,
        [&](ipc::control_layout& layout, int) {
            auto* const bytes = reinterpret_cast<unsigned char*>(&layout);
            const auto begin = random() % sizeof layout;
            const auto end = std::min<std::uint64_t>(sizeof layout, begin + random() % 5000);
            for (auto i = begin; i < end; ++i)
                __atomic_store_n(bytes + i, static_cast<unsigned char>(random()), __ATOMIC_RELAXED);
        },
        *scribbling);
    REQUIRE(eventually([&] { return scribbling->load(); }));
    s.b->begin = true;
    REQUIRE(eventually([&] { return s.b->ready == 3; }));
    const unsigned entries = scaled(50'000);
    s.feed->append_unevenly(entries);
    REQUIRE(eventually([&] { return s.b->ready == 4; }));
    // Whatever it says of readers, it is an answer.
    for (int i = 0; i < 20; ++i)
        (void)s.observer->registered();
    REQUIRE(eventually([&] { return s.all_have_seen(); }));
    CHECK_FALSE(scribbler.poll().has_value());
    s.finish();
    MESSAGE("seed " << s.seed << ": " << s.feed->appended() << " entries, " << s.w->doorbell_rings() << " rings");
    (void)s.w->free(s.all);  // pinned or not: it does not matter which
    must(s.w->close());
}

TEST_CASE("a flag that somebody forces up all the time is rung for now and then, not at every append") {
    scene s;
    const shared_memory<std::atomic<bool>> forcing;
    bool sleepers = false;
    SUBCASE("beside nobody") {}
    SUBCASE("beside readers that sleep") {
        sleepers = true;
        s.add({.cursor = bounded()});
        s.add({.cursor = bounded(), .merged = true});
    }
    s.open();
    auto forcer = hostile(
        s.control,
        [](ipc::control_layout& layout, int) {
            for (int i = 0; i < 1000; ++i) {
                __atomic_store_n(&layout.stream.committed, 1u, __ATOMIC_RELAXED);
                __atomic_store_n(&layout.regions[0].committed, 1u, __ATOMIC_RELAXED);
            }
        },
        *forcing);
    REQUIRE(eventually([&] { return forcing->load(); }));
    s.begin();
    const unsigned entries = scaled(100'000);
    const auto rings_before = s.w->doorbell_rings();
    if (sleepers)
        s.feed->append_unevenly(entries);
    else
        s.feed->append(entries);
    const auto rings = s.w->doorbell_rings() - rings_before;
    MESSAGE(entries << " appends, " << rings << " rings");
    CHECK_FALSE(forcer.poll().has_value());
    CHECK(rings > 0);
    if (!sleepers)
        CHECK(rings < entries / 2);
    REQUIRE(eventually([&] { return s.all_have_seen(); }));
    s.finish();
}

TEST_CASE("a control file deleted in use is made anew, and those who slept on it move over") {
    scene s;
    s.add({});
    s.add({.merged = true});
    s.open();
    s.begin();
    struct stat before {
    }, after{};
    for (unsigned round = 0; round < 4; ++round) {
        REQUIRE(eventually([&] { return asleep(*s.observer) == 2; }));
        REQUIRE(::stat(s.control.c_str(), &before) == 0);
        REQUIRE(fs::remove(s.control));
        if (round % 2 == 1)
            s.feed->append_unevenly(2000);  // meanwhile
        REQUIRE(eventually([&] { return ::stat(s.control.c_str(), &after) == 0 && after.st_ino != before.st_ino; }));
        CHECK(after.st_mode == before.st_mode);
        REQUIRE(eventually([&] { return s.observer->control() == control_state::attached; }));
        // The sleepers were rung for and registered in the new file.
        REQUIRE(eventually([&] { return asleep(*s.observer) == 2; }));
        const auto rings = s.w->doorbell_rings();
        s.feed->append(1);
        REQUIRE(eventually([&] { return s.all_have_seen(); }));
        CHECK(s.w->doorbell_rings() > rings);
        CHECK(eventually(
            [&] { return s.b->control[0] == control_state::attached && s.b->control[1] == control_state::attached; }));
    }
    s.finish();
}

TEST_CASE("a control file deleted again and again while readers fall asleep loses no wake-up") {
    scene s;
    for (int i = 0; i < 4; ++i)
        s.add({.merged = i % 2 == 1});
    s.open();
    s.begin();
    unsigned deleted = 0;
    // Until each is asleep behind the last entry, only the doorbell, or the ring for everybody, gets them on.
    for (unsigned round = 0; round < scaled(2000) || deleted < 3; ++round) {
        if (round % 400 == 0 && fs::remove(s.control))
            ++deleted;
        s.feed->append(1);
        while (!s.all_have_seen())
            ::usleep(0);
    }
    MESSAGE(deleted << " deletions, " << s.w->doorbell_rings() << " rings");
    s.finish();
}

TEST_CASE("a control file that another file takes the place of") {
    scene s;
    s.add({});
    s.add({.merged = true});
    s.open();
    s.begin();
    REQUIRE(eventually([&] { return asleep(*s.observer) == 2; }));
    const auto beside = s.dir / "beside";
    const auto inode = [&] {
        struct stat st {};
        return ::lstat(s.control.c_str(), &st) == 0 ? st.st_ino : 0;
    };
    const auto works_again = [&] {
        REQUIRE(eventually([&] { return s.observer->control() == control_state::attached; }));
        REQUIRE(eventually([&] { return asleep(*s.observer) == 2; }));
        s.feed->append(1);
        REQUIRE(eventually([&] { return s.all_have_seen(); }));
    };
    SUBCASE("of the same size is replaced in its turn") {
        std::vector<char> content(fs::file_size(s.control), 'x');
        std::ofstream(beside).write(content.data(), static_cast<std::streamsize>(content.size()));
        fs::rename(beside, s.control);
        const auto theirs = inode();
        s.feed->append_unevenly(1000);
        REQUIRE(eventually([&] { return inode() != theirs; }));
        works_again();
    }
    SUBCASE("that is an empty one is replaced in its turn") {
        std::ofstream(beside).close();
        fs::rename(beside, s.control);
        const auto theirs = inode();
        s.feed->append_unevenly(1000);
        REQUIRE(eventually([&] { return inode() != theirs; }));
        works_again();
    }
    SUBCASE("that is no control file is left alone, and readers poll until it is gone") {
        SUBCASE("a text") {
            std::ofstream(beside) << "precious";
        }
        SUBCASE("a directory") {
            fs::create_directory(beside);
        }
        SUBCASE("a link") {
            std::ofstream(s.dir / "target") << "precious";
            fs::create_symlink(s.dir / "target", beside);
        }
        fs::remove(s.control);
        fs::rename(beside, s.control);
        const auto theirs = inode();
        REQUIRE(eventually([&] { return s.observer->control() == control_state::absent || inode() != theirs; }));
        s.feed->append_unevenly(1000);
        REQUIRE(eventually([&] { return s.all_have_seen(); }));
        CHECK(eventually(
            [&] { return s.b->control[0] != control_state::attached && s.b->control[1] != control_state::attached; }));
        if (fs::is_regular_file(s.control)) {
            std::string text;
            std::ifstream(s.control) >> text;
            CHECK(text == "precious");
        }
        CHECK(inode() == theirs);
        fs::remove(s.control);
        works_again();
    }
    s.finish();
}

TEST_CASE("reader slots that somebody locks for ever leave readers unregistered, and nothing else") {
    scene s;
    const shared_memory<std::atomic<bool>> locked;
    s.add({});
    s.add({.merged = true});
    s.open();
    auto locker = hostile(
        s.control,
        [](ipc::control_layout&, int fd) {
            struct flock whole {};
            whole.l_type = F_WRLCK;
            whole.l_whence = SEEK_SET;
            demand(::fcntl(fd, F_OFD_SETLK, &whole) == 0, "locking all of the control file");
            ::usleep(1000);
        },
        *locked);
    REQUIRE(eventually([&] { return locked->load(); }));
    s.begin();
    CHECK_FALSE(s.b->registered[0].load());
    CHECK_FALSE(s.b->registered[1].load());
    CHECK(must(s.observer->registered()).empty());
    const auto rings = s.w->doorbell_rings();
    const unsigned entries = scaled(20'000);
    s.feed->append_unevenly(entries);
    REQUIRE(eventually([&] { return s.all_have_seen(); }));
    CHECK(s.b->control[0].load() == control_state::attached);
    CHECK(s.w->doorbell_rings() > rings);
    CHECK_FALSE(locker.poll().has_value());
    s.finish();
    must(s.w->free(s.all));
}

TEST_CASE("reader slots locked beside a registered reader keep newcomers unregistered") {
    scene s;
    const shared_memory<std::atomic<bool>> locked;
    s.add({});
    s.open();
    s.begin();
    CHECK(s.b->registered[0].load());
    auto locker = hostile(
        s.control,
        [&](ipc::control_layout&, int fd) {
            struct flock one {};
            one.l_type = F_WRLCK;
            one.l_whence = SEEK_SET;
            one.l_len = 1;
            unsigned refused = 0;
            for (std::uint32_t slot = 0; slot < ipc::reader_slots_max; ++slot) {
                one.l_start = static_cast<off_t>(ipc::control_file::offset_of(slot));
                refused += ::fcntl(fd, F_OFD_SETLK, &one) != 0;
            }
            demand(refused == 1, "only the registered reader's slot is taken");
        },
        *locked);
    REQUIRE(eventually([&] { return locked->load(); }));
    {
        auto newcomer = must(s.observer->follow(s.all));
        CHECK_FALSE(newcomer.registered());
    }
    CHECK(code_of(s.w->free(s.all)) == "pinned");
    s.feed->append_unevenly(1000);
    s.finish();
}

TEST_CASE("a control file truncated in use is lost to guarded processes until the writer has made another") {
    scene s;
    const shared_memory<crowd_board> b;
    const shared_memory<std::atomic<bool>> end;
    const auto options = bounded();
    auto writing = child([&] {
        must(install_fault_guard());
        const auto w = must(writer::open(s.path));
        crowd_feeder feed(*w, must(w->allocate(15 << 20, "all")), s.seed);
        b->begin = true;
        while (!*end) {
            feed.append(1);
            ::usleep(200);
        }
        feed.finish(*b);
        return 0;
    });
    follower_options how{
        .cursor = options, .timeout = std::chrono::milliseconds(2), .before = [] { must(install_fault_guard()); }};
    std::vector<child> crowd;
    crowd.push_back(follower(s.path, *b, 0, how));
    how.merged = true;
    crowd.push_back(follower(s.path, *b, 1, how));
    REQUIRE(eventually([&] { return b->ready == 2; }));
    CHECK(b->registered[0].load());
    const auto both = [&](control_state state) { return b->control[0] == state && b->control[1] == state; };
    for (unsigned round = 0; round < 3; ++round) {
        REQUIRE(eventually([&] { return both(control_state::attached); }));
        // Stopped, the writer cannot make another before the readers have noticed.
        writing.kill(SIGSTOP);
        int status = 0;
        REQUIRE(::waitpid(writing.pid(), &status, WUNTRACED) == writing.pid());
        REQUIRE(WIFSTOPPED(status));
        REQUIRE(::truncate(s.control.c_str(), 0) == 0);
        REQUIRE(eventually([&] { return both(control_state::lost); }));
        const auto seen = b->seen[0].load();
        writing.kill(SIGCONT);
        REQUIRE(eventually([&] { return both(control_state::attached); }));
        REQUIRE(eventually([&] { return b->seen[0] > seen + 10 && b->seen[1] > seen + 10; }));
        CHECK(fs::file_size(s.control) > 0);
    }
    *end = true;
    REQUIRE(writing.wait().code == 0);
    CHECK(all_ended_well(crowd));
    CHECK(b->all_have_seen(2, b->planned));
}

TEST_CASE("a control file truncated under readers that sleep for ever loses no wake-up") {
    scene s;
    const shared_memory<crowd_board> b;
    auto writing = child([&] {
        must(install_fault_guard());
        const auto w = must(writer::open(s.path));
        crowd_feeder feed(*w, must(w->allocate(15 << 20, "all")), s.seed);
        b->begin = true;
        const auto observer = must(reader::open(s.path));
        demand_eventually([&] { return b->ready == 2; }, "the readers follow");
        for (unsigned round = 0; round < 3; ++round) {
            demand_eventually([&] { return asleep(observer) == 2; }, "the readers sleep");
            demand(::truncate(s.control.c_str(), 0) == 0, "truncating");
            if (round == 1)
                feed.append(100);
            demand_eventually([&] { return asleep(observer) == 2; }, "the readers sleep on the new one");
            feed.append(1);
            demand_eventually([&] { return b->all_have_seen(2, feed.appended()); }, "the entries are seen");
        }
        feed.finish(*b);
        return 0;
    });
    std::vector<child> crowd;
    for (unsigned self = 0; self < 2; ++self)
        crowd.push_back(
            follower(s.path, *b, self, {.merged = self == 1, .before = [] { must(install_fault_guard()); }}));
    REQUIRE(writing.wait().code == 0);
    CHECK(all_ended_well(crowd));
    CHECK(b->all_have_seen(2, 4));
}

TEST_CASE("a killed writer's control file is taken over with those who sleep on it") {
    scene s;
    for (unsigned i = 0; i < 2; ++i)
        s.add({.merged = i == 1});
    const unsigned rounds = scaled(20);
    for (unsigned round = 0; round < rounds; ++round) {
        const std::uint64_t before = s.b->seen[0];
        auto writing = child([&] {
            const auto w = must(writer::open(s.path));
            const auto all = round == 0 ? must(w->allocate(15 << 20, "all")) : must(w->find("all"));
            s.b->begin = true;
            payload_buffer buffer;
            demand_eventually([&] { return s.b->ready == 2; }, "the readers follow");
            for (std::uint64_t n = before;; ++n) {
                (void)must(w->append(all, buffer.make(crowd_plan, n)));
                while (!s.b->all_have_seen(2, n + 1))
                    ::usleep(0);
            }
            return 0;
        });
        REQUIRE(eventually([&] { return s.b->seen[0] >= before + 50 && s.b->seen[1] >= before + 50; }));
        writing.kill(SIGKILL);
        writing.wait();
        // What it had committed last is seen by both, whether or not it lived to ring: the next writer rings for all.
        const auto w = must(writer::open(s.path));
        const auto committed = to_uint(w->info().committed);
        REQUIRE(eventually([&] { return s.b->all_have_seen(2, committed); }));
        CHECK(must(reader::open(s.path)).control() == control_state::attached);
    }
    const auto w = must(writer::open(s.path));
    payload_buffer buffer;
    const std::uint64_t last = s.b->seen[0];
    s.b->planned = last + 1;
    (void)must(w->append(must(w->find("all")), buffer.make(crowd_plan, last)));
    CHECK(all_ended_well(s.crowd));
}
