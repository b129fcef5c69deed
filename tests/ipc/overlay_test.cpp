// Overlayfs: a writer's opening copies the file up, and mappings made before show nothing new any more. Who has one is
// told. Runs in mount namespaces of its own; where there are none, the test is skipped.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <cstdlib>
#include <functional>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

namespace fs = std::filesystem;

constexpr int skipped = 77;  // as CTest is told

std::span<const std::byte> text(std::string_view what) {
    return std::as_bytes(std::span(what));
}

/// In a process and a mount namespace of its own, with an overlay in the directory `merged` over another, `lower`.
struct overlay {
    temp_dir dir;
    fs::path lower = dir / "lower";
    fs::path merged = dir / "merged";

    /// False: no such thing here.
    [[nodiscard]] bool mount() const {
        const auto of = dir.path().string();
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", of.c_str(), "tmpfs", 0, nullptr) != 0)
            return false;
        for (const char* name : {"lower", "merged", "upper", "work"})
            fs::create_directory(dir / name);
        const auto how = "lowerdir=" + of + "/lower,upperdir=" + of + "/upper,workdir=" + of + "/work";
        return ::mount("overlay", merged.c_str(), "overlay", 0, how.c_str()) == 0;
    }
};

/// Ends the program as skipped where overlays cannot be mounted.
void run_in(overlay& place, const std::function<void()>& body) {
    const auto end = child([&] {
                         if (!place.mount())
                             return skipped;
                         body();
                         return 0;
                     }).wait();
    if (!end.signalled && end.code == skipped)
        std::_Exit(skipped);
    CHECK_FALSE(end.signalled);
    CHECK(end.code == 0);
}

/// Three entries in region "all", in the lower layer.
void make_lower(const fs::path& file) {
    must(create(file, {.stream_bytes = 1 << 20}));
    const auto w = must(writer::open(file));
    const auto where = must(w->allocate(100'000, "all"));
    for (int i = 0; i < 3; ++i)
        must(w->append(where, text("early")));
    must(w->close());
}

void append_late(const fs::path& file) {
    const auto end = child([&] {
                         const auto w = must(writer::open(file));
                         must(w->append(must(w->find("all")), text("late")));
                         return 0;
                     }).wait();
    demand(!end.signalled && end.code == 0, "a writer opens the file of the lower layer");
}

template <class Cursor, class Look>
void demand_told(const fs::path& file, Cursor cursor, Look look) {
    for (int i = 0; i < 3; ++i)
        demand(must(cursor.next()).has_value(), "what is in the lower layer is shown");
    demand(!must(cursor.next()).has_value(), "and no more");
    append_late(file);
    for (int i = 0; i < 2; ++i) {  // it stays so
        const auto got = look(cursor);
        demand(code_of(got) == "io", "the cursor answers io");
        demand(got.error().message().find("open it again") != std::string::npos, "and says what to do");
    }
    auto again = must(must(reader::open(file)).follow_all());
    for (int i = 0; i < 4; ++i)
        demand(must(again.next()).has_value(), "who opens it again sees all");
}

template <class Look>
void check_told(const cursor_options& how, bool merged, Look look) {
    overlay place;
    run_in(place, [&] {
        make_lower(place.lower / "stream");
        const auto file = place.merged / "stream";
        const auto from = must(reader::open(file));
        if (merged)
            demand_told(file, must(from.follow_all(how)), look);
        else
            demand_told(file, must(from.follow(must(from.find("all")), how)), look);
    });
}

const auto waits = [](auto& cursor) { return cursor.wait(); };
const auto asks = [](auto& cursor) {
    auto got = cursor.next();
    while (got && !*got)
        got = cursor.next();
    return got;
};

}  // namespace

TEST_CASE("a cursor that waits on a file of a lower layer ends with io when a writer has copied it up") {
    for (const bool merged : {false, true}) {
        CAPTURE(merged);
        check_told({}, merged, waits);
        check_told(doorbell_only(), merged, waits);
        check_told(spinning(), merged, waits);
    }
}

TEST_CASE("a cursor that only ever asks for the next entry is told too") {
    for (const bool merged : {false, true}) {
        CAPTURE(merged);
        check_told({}, merged, asks);
    }
}

TEST_CASE("a file that another one took the place of is told") {
    overlay place;
    run_in(place, [&] {
        make_lower(place.merged / "stream");
        auto cursor = must(must(reader::open(place.merged / "stream")).follow_all({.start = from_newest{}}));
        make_lower(place.merged / "new");
        fs::rename(place.merged / "new", place.merged / "stream");
        demand(code_of(cursor.wait()) == "io", "the cursor answers io");
    });
}

TEST_CASE("a stream in the upper layer, or deleted there, is followed as elsewhere") {
    overlay place;
    run_in(place, [&] {
        make_lower(place.lower / "stream");
        const auto file = place.merged / "stream";
        append_late(file);
        const auto from = must(reader::open(file));
        auto one = must(from.follow(must(from.find("all")), {.start = from_newest{}}));
        auto all = must(from.follow_all({.start = from_newest{}}));
        const auto w = must(writer::open(file));
        for (int round = 0; round < 3; ++round) {
            must(w->append(must(w->find("all")), text("more")));
            demand(must(one.wait()).has_value() && must(all.wait()).has_value(), "what comes is shown");
            // Longer than from one look at the path to the next.
            demand(!must(one.wait(std::chrono::milliseconds(300))).has_value(), "and nothing else");
            demand(!must(all.wait(std::chrono::milliseconds(300))).has_value(), "and nothing else");
            if (round == 1)
                fs::remove(file);
        }
    });
}
