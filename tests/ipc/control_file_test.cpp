// The control file gone: deleted, replaced, truncated, or left behind by a killed writer. Writer and readers stay right.
#include "tests/ipc/control_scene.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <fstream>

using namespace pmemstream;
using namespace pmemstream::test;

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
    SUBCASE("that is a copy of it is replaced in its turn") {
        fs::copy_file(s.control, beside);
        fs::rename(beside, s.control);
        const auto theirs = inode();
        s.feed->append_unevenly(1000);
        REQUIRE(eventually([&] { return inode() != theirs; }));
        works_again();
    }
    SUBCASE("that is no control file is left alone, and readers poll until it is gone") {
        SUBCASE("an empty file") {
            std::ofstream(beside).close();
        }
        SUBCASE("zeros of its size") {
            std::ofstream(beside).close();
            fs::resize_file(beside, fs::file_size(s.control));
        }
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
        if (fs::is_regular_file(s.control) && fs::file_size(s.control) == 8) {
            std::string text;
            std::ifstream(s.control) >> text;
            CHECK(text == "precious");
        }
        CHECK(inode() == theirs);
        CHECK(s.w->control() == control_state::refused);
        fs::remove(s.control);
        works_again();
    }
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
