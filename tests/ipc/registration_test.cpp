// When a cursor takes its reader slot, and what is said of slots that cannot be looked at.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

std::span<const std::byte> text(std::string_view what) {
    return std::as_bytes(std::span(what));
}

/// A stream with one region, for which no control file was ever made.
struct fresh_stream {
    temp_dir dir;
    std::filesystem::path path = dir / "stream";
    region where;

    fresh_stream() {
        must(create(path, {.stream_bytes = 1 << 20}));
        where = must(must(writer::open(path, {.without_control = true}))->allocate(100'000, "r"));
    }
};

template <class Cursor>
void check_registers_by_next(const fresh_stream& s, Cursor cursor, bool pins) {
    CHECK_FALSE(must(cursor.next()).has_value());
    CHECK_FALSE(cursor.registered());
    {
        const auto w = must(writer::open(s.path));
        SUBCASE("that finds nothing") {
            CHECK_FALSE(must(cursor.next()).has_value());
        }
        SUBCASE("that finds an entry") {
            must(w->append(s.where, text("one")));
            CHECK(must(cursor.next()).has_value());
        }
        CHECK(cursor.registered());
        CHECK(must(must(reader::open(s.path)).registered()).size() == 1);
        if (pins)
            CHECK(code_of(w->free(s.where)) == "pinned");
    }
    // A writer without a control file takes the slot away, and the next one gives it back.
    {
        const auto w = must(writer::open(s.path, {.without_control = true}));
        CHECK_FALSE(must(cursor.next()).has_value());
        CHECK_FALSE(cursor.registered());
    }
    std::filesystem::remove(control_path(s.path));
    const auto w = must(writer::open(s.path));
    CHECK_FALSE(must(cursor.next()).has_value());
    CHECK(cursor.registered());
}

}  // namespace

TEST_CASE("a cursor older than the first control file registers by a next()") {
    const fresh_stream s;
    check_registers_by_next(s, must(must(reader::open(s.path)).follow(s.where)), true);
}

TEST_CASE("a cursor over all regions that is older than the first control file registers by a next()") {
    const fresh_stream s;
    check_registers_by_next(s, must(must(reader::open(s.path)).follow_all()), false);
}

TEST_CASE("a cursor that does not want to be registered never is") {
    const fresh_stream s;
    const auto from = must(reader::open(s.path));
    auto one = must(from.follow(s.where, {.registered = false}));
    auto all = must(from.follow_all({.registered = false}));
    const auto w = must(writer::open(s.path));
    must(w->append(s.where, text("one")));
    for (int i = 0; i < 2; ++i) {
        CHECK(must(one.next()).has_value() == (i == 0));
        CHECK(must(all.next()).has_value() == (i == 0));
        CHECK_FALSE(must(one.wait(std::chrono::microseconds(1))).has_value());
    }
    CHECK_FALSE(one.registered());
    CHECK_FALSE(all.registered());
    must(w->free(s.where));
}

TEST_CASE("slots of a control file that was truncated are control_lost, not none, until a writer makes another") {
    const fresh_stream s;
    must(must(writer::open(s.path))->close());
    auto guarded = child([&] {
        must(install_fault_guard());
        const auto from = must(reader::open(s.path));
        auto cursor = must(from.follow(s.where));
        demand(must(from.registered()).size() == 1, "the cursor is registered");
        demand(::truncate(control_path(s.path).c_str(), 0) == 0, "truncating");
        demand(!must(cursor.wait(std::chrono::milliseconds(1))), "nothing was appended");
        demand(from.control() == control_state::lost, "the control file is lost");
        demand(code_of(from.registered()) == "control_lost", "and so are the slots");
        std::filesystem::remove(control_path(s.path));
        const auto w = must(writer::open(s.path));
        demand(!must(cursor.next()), "nothing was appended");
        demand(must(from.registered()).size() == 1, "the cursor is registered again");
        return 0;
    });
    CHECK(guarded.wait().code == 0);
}
