// A medium that cannot read a part of the stream for a while, under the fault guard: whoever opens, allocates or persists
// meanwhile is told, and what the guard put in the place of that part is never taken for what it holds.
#include "tests/crash/dead_stream.hpp"
#include "tests/crash/unreadable_end.hpp"
#include "tests/order/step_in.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"

#include <pmemstream/fault_guard.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

/// In a process of its own, which has the guard: an opening that is told `io`, because from `begin` on nothing can be read
/// once it has looked at the table.
void opening_fails(const dead_stream& stream, std::uint64_t begin) {
    child opening([&] {
        must(install_fault_guard());
        std::optional<unreadable_end> away;
        const step_in reading(base::kill_point::slot_read, [&] { away.emplace(stream.file, begin); });
        demand(code_of(writer::open(stream.file, {.without_control = true})) == "io", "the opening meets the fault");
        return 0;
    });
    CHECK(opening.wait().code == 0);
}

constexpr std::uint64_t page(std::uint64_t offset) {
    return offset / 4096 * 4096;
}

/// Twenty persisted entries, four to a page, of which the slot's lines, and the header's, know nothing.
struct stream_with_old_lines : dead_stream {
    stream_with_old_lines() : dead_stream(1 << 20, 4096) {
        dies_after([](writer& to) {
            const region where = must(to.allocate(100'000, "r"));
            for (char letter = 'a'; letter < 'a' + 20; ++letter)
                must(to.append(where, bytes_of(std::string(1000, letter))));
            must(to.persist());
        });
        const std::uint64_t begin = entry_at(0, 0);
        const auto epoch = format::persisted_epoch_of(peek<std::uint64_t>(file, persisted_offset(0)));
        poke(file, commit_offset(0), std::array<std::uint64_t, 2>{begin, 0});
        poke(file, persisted_offset(0), std::array<std::uint64_t, 2>{format::persisted_word(begin, epoch), 0});
        poke(file, stream_sequence, std::uint64_t{0});
        poke(file, format::header_offset + offsetof(format::shared_header, persist), std::uint64_t{0});
    }
};

}  // namespace

TEST_CASE("an opening that cannot read everything changes nothing that a later one needs") {
    for (const bool rebooted : {false, true}) {
        CAPTURE(rebooted);
        stream_with_old_lines stream;
        if (rebooted)
            stream.reboot();
        for (const std::uint64_t pages : {0u, 2u, 4u})
            opening_fails(stream, page(stream.entry_at(0, 0)) + pages * 4096);
        const auto to = stream.write();
        CHECK(to->recovery().entries_recovered == 20);
        CHECK(content(stream).size() == 20);
    }
}

TEST_CASE("what cannot be read makes no region and no table segment") {
    enum class way { allocate, clear, grow };
    for (const auto how : {way::allocate, way::clear, way::grow}) {
        CAPTURE(static_cast<int>(how));
        const dead_stream stream(1 << 20, 4096);
        stream.dies_after([&](writer& to) {
            must(install_fault_guard());
            const region keep = must(to.allocate(20'000, "keep"));
            must(to.append(keep, bytes_of("good")));
            std::uint64_t behind = to_uint(must(to.describe(keep)).begin) + 20'000;
            region other;
            if (how == way::clear)
                other = must(to.allocate(20'000, "other"));
            if (how == way::grow)
                while (must(to.regions()).size() < to.info().region_slots)
                    behind = to_uint(must(to.describe(must(to.allocate(1000)))).begin) + 1000;
            must(to.persist());
            const unreadable_end away(stream.file, page(behind + 4095));
            const std::string got = how == way::clear ? code_of(to.clear(other)) : code_of(to.allocate(20'000, "new"));
            demand(got == "io", "it meets the fault");
        });
        const auto to = stream.write();
        CHECK(content(stream, "keep") == texts{"good"});
        CHECK(code_of(to->find("new")) == "not_found");
        must(to->append(must(to->allocate(20'000, "later")), bytes_of("more"), horizon::persisted));
    }
}

TEST_CASE("an opening that cannot read a region which is to be emptied leaves it to the next") {
    dead_stream stream(1 << 20, 4096);
    stream.dies_after([](writer& to) {
        must(to.append(must(to.allocate(20'000, "keep")), bytes_of("good")));
        must(to.append(must(to.allocate(20'000, "other")), bytes_of("old")));
    });
    poke(stream.file, stream.slot(1), format::state_word(9, format::slot_state::clearing));
    opening_fails(stream, page(stream.entry_at(1, 0)));
    const auto to = stream.write();
    CHECK(content(stream, "keep") == texts{"good"});
    CHECK(content(stream, "other").empty());
}

TEST_CASE("what cannot be read is not persisted, and not cut") {
    stream_with_old_lines stream;
    for (int again = 0; again < 2; ++again)
        stream.dies_after([&](writer& to) {
            must(install_fault_guard());
            const unreadable_end away(stream.file, page(stream.entry_at(0, 0)) + 4096);
            const auto done = to.persist();
            demand(code_of(done) == "io", "it meets the fault");
            demand(message_of(done).find("salvaged") != std::string::npos, "and what can be done is said");
        });
    const auto to = stream.write();
    CHECK(content(stream).size() == 20);
    must(to->persist());
}
