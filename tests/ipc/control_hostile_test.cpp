// The control file in the hands of somebody hostile: writer and readers stay right, at worst slower.
#include "ipc/control_file.hpp"
#include "tests/ipc/control_scene.hpp"

#include <fcntl.h>
#include <sys/mman.h>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

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
