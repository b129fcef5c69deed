#include "tests/crash/dead_stream.hpp"
#include "tests/crash/killed_program.hpp"
#include "tests/support/forced_cache_lines.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

// Every row of the table for opening, through the public API, on files that say what the row is about.

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using found = recovery_report::state;

/// Region "r" with these entries, all persisted or none, by a writer that died.
void fill(const dead_stream& stream, const texts& entries) {
    stream.dies_after([&](writer& to) {
        auto where = to.find("r");
        if (!where)
            where = to.allocate(2000, "r");
        for (const auto& text : entries)
            must(to.append(must(where), bytes_of(text)));
    });
}

void fill_and_close(const small_stream& stream, const texts& entries) {
    const auto to = stream.write();
    const region where = must(to->allocate(2000, "r"));
    for (const auto& text : entries)
        must(to->append(where, bytes_of(text)));
    must(to->close());
}

TEST_CASE("clean: the commit offset is trusted, and what lies behind it is nothing") {
    dead_stream stream;
    fill_and_close(stream, {"a", "b"});
    poke(stream.file, stream.entry_at(0, 2), numbered_payload(1, 1, 1)[0]);
    const auto to = stream.write();
    CHECK(to->recovery().found == found::clean);
    CHECK(to->recovery().entries_recovered == 0);
    CHECK(content(stream) == texts{"a", "b"});
    must(to->append(must(to->find("r")), bytes_of("c")));
    CHECK(content(stream) == texts{"a", "b", "c"});
}

TEST_CASE("clean: it stays so in a copy, on another boot and behind a refused opening") {
    dead_stream stream;
    fill_and_close(stream, {"a", "b"});
    stream.reboot();
    std::filesystem::copy_file(stream.file, stream.dir / "copy");
    CHECK(must(writer::open(stream.dir / "copy"))->recovery().found == found::clean);
    CHECK(stream.write()->recovery().found == found::clean);
}

TEST_CASE("clean: a header that contradicts itself is refused") {
    dead_stream stream;
    fill_and_close(stream, {"a", "b"});
    const auto image = read_image(stream.file);
    SUBCASE("committed and persisted offset differ") {
        poke(stream.file, stream.persisted_offset(0), stream.entry_at(0, 1));
    }
    SUBCASE("committed and persisted sequence differ") {
        poke(stream.file, stream.commit_sequence(0), std::uint64_t{3});
    }
    SUBCASE("the stream's committed and persisted sequences differ") {
        poke(stream.file, stream.stream_sequence, std::uint64_t{3});
    }
    const auto damaged = read_image(stream.file);
    CHECK(damaged != image);
    CHECK(code_of(writer::open(stream.file)) == "corrupt");
    CHECK(read_image(stream.file) == damaged);
}

TEST_CASE("process died: the commit offset is trusted, and nothing past it where stores are not in pages") {
    const forced_cache_lines forced;
    dead_stream stream;
    fill(stream, {"a", "b", "c"});
    // As if it had died before the last commit: the entry is whole, its offset not stored.
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 2));
    {
        const auto to = stream.write();
        CHECK(to->recovery().found == found::process_died);
        CHECK(to->recovery().entries_recovered == 0);
        CHECK(content(stream) == texts{"a", "b"});
        // It was cut durably: its header is zero.
        CHECK(peek<std::uint64_t>(stream.file, stream.entry_at(0, 2)) == 0);
        CHECK(peek<std::uint64_t>(stream.file, stream.entry_at(0, 2) + 8) == 0);
        // Its sequence is not used again.
        CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("d")))) == 4);
    }
    CHECK(stream.write()->recovery().found == found::clean);
    CHECK(content(stream) == texts{"a", "b", "d"});
}

TEST_CASE("process died: a commit offset that cannot be is refused and nothing is changed") {
    dead_stream stream;
    fill(stream, {"a", "b", "c"});
    for (const std::uint64_t wrong : {std::uint64_t{0}, stream.entry_at(0, 0) - 8, stream.entry_at(0, 1) + 4,
                                      stream.entry_at(0, 100'000), ~std::uint64_t{0}}) {
        poke(stream.file, stream.commit_offset(0), wrong);
        const auto before = read_image(stream.file);
        CHECK(code_of(writer::open(stream.file)) == "corrupt");
        CHECK(read_image(stream.file) == before);
    }
}

/// What makes of a process that died something that nobody can trust.
const std::vector<std::pair<std::string, std::function<void(const dead_stream&)>>> reasons_to_rescan = {
    {"another boot", [](const dead_stream& s) { s.reboot(); }},
    {"another device", [](const dead_stream& s) { flip(s.file, s.identity + 32, std::byte{1}); }},
    {"another inode", [](const dead_stream& s) { flip(s.file, s.identity + 40, std::byte{1}); }},
    {"an error of the medium",
     [](const dead_stream& s) {
         poke(s.file, s.identity + offsetof(format::identity_line, medium_flags), format::medium_error_flag);
     }},
    {"a copy", [](const dead_stream& s) {
         std::filesystem::copy_file(s.file, s.dir / "copy");
         std::filesystem::rename(s.dir / "copy", s.file);
     }}};

TEST_CASE("anything else: the persisted offset is trusted, then what verifies behind it") {
    for (const auto& [reason, make] : reasons_to_rescan) {
        CAPTURE(reason);
        dead_stream stream;
        fill_and_close(stream, {"a", "b"});
        fill(stream, {"c", "d", "e"});
        // No commit offset may matter, not even one that cannot be.
        poke(stream.file, stream.commit_offset(0), ~std::uint64_t{0});
        make(stream);
        {
            const auto to = stream.write();
            CHECK(to->recovery().found == found::rescanned);
            CHECK(to->recovery().entries_recovered == 3);
            CHECK(to->recovery().regions_cut == 0);
            CHECK(content(stream) == texts{"a", "b", "c", "d", "e"});
            // What was found is persisted now.
            CHECK(to_uint(to->info().persisted) == 5);
            CHECK(must(to->describe(must(to->find("r")))).persisted_end == offset{stream.entry_at(0, 5)});
            CHECK((peek<std::uint32_t>(stream.file, stream.identity + offsetof(format::identity_line, medium_flags)) &
                   format::medium_error_flag) == 0);
            CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("f")))) == 6);
        }
        CHECK(stream.write()->recovery().found == found::clean);
        CHECK(content(stream) == texts{"a", "b", "c", "d", "e", "f"});
    }
}

TEST_CASE("rescan: a persisted offset that cannot be is refused and nothing is changed") {
    dead_stream stream;
    fill(stream, {"a", "b", "c"});
    stream.reboot();
    for (const std::uint64_t wrong : {std::uint64_t{0}, stream.entry_at(0, 0) - 8, stream.entry_at(0, 0) + 4,
                                      stream.entry_at(0, 100'000), ~std::uint64_t{0}}) {
        poke(stream.file, stream.persisted_offset(0), wrong);
        const auto before = read_image(stream.file);
        CHECK(code_of(writer::open(stream.file)) == "corrupt");
        CHECK(read_image(stream.file) == before);
    }
}

TEST_CASE("rescan: a torn tail is cut, whatever of it is torn, and writing goes on") {
    const std::vector<std::pair<std::string, std::function<void(const dead_stream&, std::uint64_t)>>> tears = {
        {"a payload byte", [](const auto& s, auto at) { flip(s.file, at + 16); }},
        {"the first half of the header", [](const auto& s, auto at) { poke(s.file, at, std::uint64_t{0}); }},
        {"the second half of the header", [](const auto& s, auto at) { poke(s.file, at + 8, std::uint64_t{0}); }},
        {"the CRC", [](const auto& s, auto at) { flip(s.file, at + 4); }},
        {"an absurd length", [](const auto& s, auto at) { poke(s.file, at, 0xffff'fff0u); }},
        {"a length beyond the region", [](const auto& s, auto at) { poke(s.file, at, 4000u); }},
        {"the sequence of the entry before",
         [](const auto& s, auto at) { poke(s.file, at + 8, peek<std::uint64_t>(s.file, at + 8 - 24)); }},
        {"an epoch to come", [](const auto& s, auto at) { flip(s.file, at + 14, std::byte{0x40}); }},
        {"reserved bits", [](const auto& s, auto at) { flip(s.file, at + 15, std::byte{0x80}); }},
    };
    for (const auto& [what, tear] : tears) {
        CAPTURE(what);
        dead_stream stream;
        fill(stream, {"a", "b", "c"});
        tear(stream, stream.entry_at(0, 2));
        stream.reboot();
        {
            const auto to = stream.write();
            CHECK(to->recovery().found == found::rescanned);
            CHECK(to->recovery().entries_recovered == 2);
            CHECK(to->recovery().regions_cut == 1);
            CHECK(to->recovery().regions_cut_before_whole_entries == 0);
            CHECK(content(stream) == texts{"a", "b"});
            CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("d")))) > 2);
        }
        CHECK(stream.write()->recovery().found == found::clean);
        CHECK(content(stream) == texts{"a", "b", "d"});
    }
}

TEST_CASE("rescan: an entry that is cut although a later one verifies is reported") {
    dead_stream stream;
    fill(stream, {"a", "b", "c", "d"});
    flip(stream.file, stream.entry_at(0, 1) + 16);
    stream.reboot();
    const auto to = stream.write();
    CHECK(to->recovery().entries_recovered == 1);
    CHECK(to->recovery().regions_cut == 1);
    CHECK(to->recovery().regions_cut_before_whole_entries == 1);
    CHECK(content(stream) == texts{"a"});
}

TEST_CASE("rescan: a batch is there whole or not at all") {
    for (const bool torn : {false, true}) {
        dead_stream stream;
        stream.dies_after([](writer& to) {
            const region where = must(to.allocate(2000, "r"));
            must(to.append(where, bytes_of("a")));
            const std::vector<std::span<const std::byte>> batch = {bytes_of("b"), bytes_of("c"), bytes_of("d")};
            must(to.append_batch(where, batch));
            must(to.append(where, bytes_of("e")));
        });
        if (torn)
            flip(stream.file, stream.entry_at(0, 3) + 16);
        stream.reboot();
        const auto to = stream.write();
        CHECK(content(stream) == (torn ? texts{"a"} : texts{"a", "b", "c", "d", "e"}));
        CHECK(to->recovery().regions_cut == (torn ? 1 : 0));
        CHECK(to->recovery().regions_cut_before_whole_entries == (torn ? 1 : 0));
    }
}

TEST_CASE("rescan: a filler is kept and passed") {
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        must(to.append(where, bytes_of("a")));
        must(to.abandon(must(to.reserve(where, 8))));
        must(to.append(where, bytes_of("b")));
        must(to.abandon(must(to.reserve(where, 8))));
    });
    stream.reboot();
    const auto to = stream.write();
    CHECK(to->recovery().entries_recovered == 2);
    CHECK(to->recovery().regions_cut == 0);
    CHECK(content(stream) == texts{"a", "b"});
    CHECK(must(to->describe(must(to->find("r")))).committed_end == offset{stream.entry_at(0, 4)});
}

TEST_CASE("rescan: entries of an earlier generation do not come back behind those of a new one") {
    dead_stream stream;
    stream.dies_after([](writer& to) {
        region where = must(to.allocate(2000, "r"));
        for (const char* text : {"1", "2", "3", "4"})
            must(to.append(where, bytes_of(text)));
        where = must(to.clear(where));
        must(to.append(where, bytes_of("5")));
    });
    stream.reboot();
    const auto to = stream.write();
    CHECK(to->recovery().entries_recovered == 1);
    CHECK(content(stream) == texts{"5"});
}

TEST_CASE("rescan: entries of another stream, copied into the same place, are cut") {
    dead_stream stream, other;
    fill(stream, {"a", "b"});
    fill(other, {"A", "B", "C"});
    const auto image = read_image(other.file);
    const auto from = static_cast<std::ptrdiff_t>(other.entry_at(0, 1));
    auto mine = read_image(stream.file);
    std::copy(image.begin() + from, image.begin() + from + 48, mine.begin() + from);
    write_image(stream.file, mine);
    stream.reboot();
    const auto to = stream.write();
    CHECK(to->recovery().regions_cut == 1);
    CHECK(content(stream) == texts{"a"});
}

TEST_CASE("damage below the persisted offset is shown as corrupt with its place, and never cut") {
    for (const bool reboots : {false, true}) {
        dead_stream stream;
        fill_and_close(stream, {"a", "b", "c"});
        fill(stream, {"d", "e"});
        const auto damaged = stream.entry_at(0, 1);
        flip(stream.file, damaged + 16);
        if (reboots)
            stream.reboot();
        const auto to = stream.write();
        CHECK(to->recovery().regions_cut == 0);
        CHECK(to->recovery().entries_recovered == (reboots ? 2 : 0));
        const auto from = stream.read();
        auto cursor = must(from.follow(must(from.find("r")), {.check_crc = true}));
        CHECK(text_of(must(cursor.next()).value().payload()) == "a");
        const auto got = cursor.next();
        CHECK(code_of(got) == "corrupt");
        CHECK(message_of(got).find(std::to_string(damaged)) != std::string::npos);
        CHECK(message_of(got).find("slot 0") != std::string::npos);
        // Behind it everything is as it was.
        CHECK(texts_in(from, must(from.find("r")), {.start = at_offset{offset{damaged + 24}}}) == texts{"c", "d", "e"});
        must(to->append(must(to->find("r")), bytes_of("f")));
    }
}

TEST_CASE("rescan: an opening cut short anywhere, and more than once, ends as if it had not been") {
    using base::kill_point;
    unsigned kills = 0;
    for (const auto point : {kill_point::open_locked, kill_point::clear_emptied, kill_point::open_recovered,
                             kill_point::open_epoch_stored, kill_point::open_done}) {
        dead_stream stream;
        fill_and_close(stream, {"a", "b"});
        fill(stream, {"c", "d"});
        flip(stream.file, stream.entry_at(0, 3) + 16);
        // A second region, which was being cleared.
        stream.dies_after([](writer& to) {
            const region cleared = must(to.allocate(1000, "cleared"));
            must(to.append(cleared, bytes_of("gone")));
        });
        const auto state = dead_stream::slot(1);
        const auto word = peek<std::uint64_t>(stream.file, state);
        poke(stream.file, state, format::state_word(format::generation_of(word) + 1, format::slot_state::clearing));
        stream.reboot();
        for (int times = 0; times < 3; ++times) {
            killed_program opening({"open", stream.file.string()}, dies_at(point, 1));
            const auto end = opening.wait();
            // Only the first can be killed while the clearing is finished.
            if (point == kill_point::clear_emptied && times > 0 && !end.signalled)
                continue;
            CHECK((end.signalled && end.code == SIGKILL));
            kills += end.signalled ? 1 : 0;
        }
        const auto to = stream.write();
        CHECK(content(stream) == texts{"a", "b", "c"});
        const region cleared = must(to->find("cleared"));
        CHECK(texts_in(stream.read(), cleared).empty());
        CHECK(to_uint(must(to->append(cleared, bytes_of("new")))) > 4);
        must(to->append(must(to->find("r")), bytes_of("e")));
        CHECK(content(stream) == texts{"a", "b", "c", "e"});
        must(to->close());
        CHECK(stream.write()->recovery().found == found::clean);
    }
    CHECK(kills >= 13);
}

}  // namespace
