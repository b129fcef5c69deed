#include "tests/crash/dead_stream.hpp"
#include "tests/support/forced_cache_lines.hpp"

#include "src/format/validate.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

// What crashes after crashes must not do: bring back what was cut, lose what was old, use a sequence twice. And damage
// of the metadata, on which a writer changes nothing.

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using found = recovery_report::state;

TEST_CASE("cut, append the same length again, crash again: the old neighbour stays away") {
    // What else was lost with the power: nothing, the stream's sequence, or that and the region's.
    for (int lost = 0; lost < 3; ++lost) {
        CAPTURE(lost);
        dead_stream stream;
        stream.dies_after([](writer& to) {
            const region where = must(to.allocate(2000, "r"));
            for (const char* text : {"a", "b", "c", "d"})
                must(to.append(where, bytes_of(text)));
        });
        flip(stream.file, stream.entry_at(0, 1) + 16);
        if (lost > 0)
            poke(stream.file, stream.stream_sequence, std::uint64_t{0});
        if (lost > 1)
            poke(stream.file, stream.commit_sequence(0), std::uint64_t{0});
        stream.reboot();
        stream.dies_after([](writer& to) {
            if (to.recovery().entries_recovered != 1)
                give_up("not one entry recovered");
            must(to.append(must(to.find("r")), bytes_of("B")));
        });
        stream.reboot();
        const auto to = stream.write();
        CHECK(to->recovery().found == found::rescanned);
        CHECK(content(stream) == texts{"a", "B"});
        must(to->append(must(to->find("r")), bytes_of("C")));
        CHECK(content(stream) == texts{"a", "B", "C"});
    }
}

TEST_CASE("what a dead process had not committed does not come back with the power") {
    const forced_cache_lines forced;  // in pages it would be found
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        for (const char* text : {"a", "b", "c"})
            must(to.append(where, bytes_of(text)));
    });
    // It died before the second commit, with a third entry from an earlier life behind it.
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
    poke(stream.file, stream.commit_sequence(0), std::uint64_t{1});
    poke(stream.file, stream.stream_sequence, std::uint64_t{1});
    stream.dies_after([](writer& to) {
        if (to.recovery().found != found::process_died)
            give_up("not found as a process that died");
    });
    CHECK(content(stream) == texts{"a"});
    stream.reboot();
    const auto to = stream.write();
    CHECK(to->recovery().found == found::rescanned);
    CHECK(content(stream) == texts{"a"});
    CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("B")))) >= 2);
    CHECK(content(stream) == texts{"a", "B"});
}

TEST_CASE("an entry is committed although its writer died before telling the stream, whatever was cut behind it") {
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        for (const char* text : {"a", "b", "c"})
            must(to.append(where, bytes_of(text)));
    });
    flip(stream.file, stream.entry_at(0, 1) + 16);
    stream.reboot();
    stream.dies_after([](writer& to) { must(to.append(must(to.find("r")), bytes_of("B"))); });
    // Between the two stores of that commit; the region ends where "c" begins, which is whole.
    poke(stream.file, stream.stream_sequence, std::uint64_t{1});
    const auto to = stream.write();
    CHECK(to->recovery().found == found::process_died);
    CHECK(content(stream) == texts{"a", "B"});
    CHECK(all_texts(stream.read()) == texts{"a", "B"});
}

TEST_CASE("what was cut behind an entry stays away when the epoch's eight bits have come round") {
    const forced_cache_lines forced;  // in pages nothing would be cut
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        must(to.append(where, bytes_of("a")));
        const std::vector<std::span<const std::byte>> batch = {bytes_of("b"), bytes_of("c")};
        must(to.append_batch(where, batch));
    });
    // As if it had died inside the batch: both are written, nothing is committed or counted.
    const auto epoch = stream.read().info().epoch;
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
    poke(stream.file, stream.commit_sequence(0), std::uint64_t{1});
    poke(stream.file, stream.stream_sequence, std::uint64_t{1});
    // A program that dies whenever it is started, for a while.
    for (int i = 1; i < 256; ++i)
        stream.dies_after([](writer&) {});
    stream.dies_after([](writer& to) { must(to.append(must(to.find("r")), bytes_of("B"))); });
    CHECK(stream.read().info().epoch == epoch + 256);
    stream.reboot();
    CHECK(stream.write()->recovery().found == found::rescanned);
    CHECK(content(stream) == texts{"a", "B"});
}

TEST_CASE("hundreds of writers that die leave nothing that a rescan takes for a later one's") {
    dead_stream stream(256 << 10);
    constexpr int writers = 300;
    texts expected;
    stream.dies_after([](writer& to) {
        must(to.append(must(to.allocate(2000, "once")), bytes_of("first")));
        must(to.append(must(to.allocate(20'000, "r")), bytes_of("0")));
    });
    expected.emplace_back("0");
    // Entries of more than 256 epochs, and one that is as old as the stream: eight bits of the epoch wrap.
    for (int n = 1; n <= writers; ++n) {
        expected.push_back(std::to_string(n));
        stream.dies_after([&](writer& to) {
            if (to.recovery().found != found::process_died)
                give_up("not found as a process that died");
            must(to.append(must(to.find("r")), bytes_of(expected.back())));
        });
        // Power is lost at different distances from the last opening that persisted everything.
        if (n == 130 || n == 191 || n == 192 || n == writers) {
            stream.reboot();
            CHECK(stream.read().info().epoch == static_cast<std::uint64_t>(n) + 1 + (n > 130) + (n > 191) + (n > 192));
            stream.dies_after([](writer& to) {
                if (to.recovery().found != found::rescanned || to.recovery().regions_cut != 0)
                    give_up("not rescanned without a cut");
            });
            CHECK(content(stream) == expected);
            CHECK(content(stream, "once") == texts{"first"});
        }
    }
    CHECK(expected.size() == writers + 1);
    CHECK(all_texts(stream.read()).size() == writers + 2);
}

TEST_CASE("a region that is older than its first entry is recovered when the header's sequence was lost") {
    dead_stream stream(1 << 20);
    stream.dies_after([](writer& to) {
        // So many that the last slot lies in another page than the header.
        const region first = must(to.allocate(2000, "first"));
        for (int i = 0; i < 10; ++i)
            must(to.allocate(100));
        for (int i = 0; i < 50; ++i)
            must(to.append(first, bytes_of("x")));
        must(to.allocate(2000, "r"));
    });
    // Power is lost: the slot of "r" was made durable, the entries before it and the header's sequence were not.
    poke(stream.file, stream.stream_sequence, std::uint64_t{0});
    poke(stream.file, stream.commit_sequence(0), std::uint64_t{0});
    for (int i = 0; i < 50; ++i)
        poke(stream.file, stream.entry_at(0, static_cast<std::uint64_t>(i)), format::entry_header{});
    stream.reboot();
    stream.dies_after([](writer& to) {
        if (to.recovery().found != found::rescanned)
            give_up("not rescanned");
        must(to.append(must(to.find("r")), bytes_of("a")));
        must(to.append(must(to.find("first")), bytes_of("b")));
    });
    CHECK(content(stream) == texts{"a"});
    CHECK(content(stream, "first") == texts{"b"});
    CHECK(all_texts(stream.read()) == texts{"a", "b"});
    stream.reboot();
    CHECK(stream.write()->recovery().entries_recovered == 2);
    CHECK(all_texts(stream.read()) == texts{"a", "b"});
}

TEST_CASE("a damaged slot, segment or extent header keeps every writer out, and nothing is changed") {
    struct part {
        std::string name;
        std::uint64_t begin, end;
    };
    for (const int how_left : {0, 1, 2}) {  // clean, a process died, power was lost
        dead_stream stream(32 << 10);
        const auto prepare = [](writer& to) {
            const region torn = must(to.allocate(1000, "torn"));
            must(to.append(torn, bytes_of("a")));
            must(to.append(torn, bytes_of("b")));
            must(to.append(must(to.allocate(1000, "damaged")), bytes_of("c")));
        };
        if (how_left == 0) {
            const auto to = stream.write();
            prepare(*to);
        } else {
            stream.dies_after(prepare);
            // The first region has to be cut, the second cannot be used: all or nothing.
            flip(stream.file, stream.entry_at(0, 1) + 16);
            if (how_left == 1)
                poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
            else
                stream.reboot();
        }
        const auto extent = peek<format::slot_cold>(stream.file, stream.slot(1)).extent_offset;
        const auto whole = read_image(stream.file);
        unsigned refused = 0, flips = 0;
        for (const auto& [name, begin, end] :
             {part{"slot", stream.slot(1), stream.slot(1) + sizeof(format::slot_cold)},
              part{"segment", format::first_segment_offset, format::first_segment_offset + 28},
              part{"link", format::first_segment_offset + 32, format::first_segment_offset + 40},
              part{"extent", extent, extent + sizeof(format::extent_header)}})
            for (auto at = begin; at < end; ++at) {
                CAPTURE(name);
                CAPTURE(at);
                flip(stream.file, at, std::byte{0x04});
                const auto before = read_image(stream.file);
                const auto got = writer::open(stream.file);
                const bool as_it_should =
                    !got && (got.error().code() == errc::corrupt || got.error().code() == errc::unsupported_format) &&
                    got.error().message().find(stream.file.string()) != std::string::npos &&
                    read_image(stream.file) == before;
                CHECK(as_it_should);
                refused += as_it_should ? 1 : 0;
                ++flips;
                write_image(stream.file, whole);
            }
        CHECK(flips == 128 + 28 + 8 + 64);
        CHECK(refused == flips);
        CHECK(code_of(writer::open(stream.file)) == "ok");
    }
}

TEST_CASE("slots that are damaged so that their CRC fits are refused where extents overlap or leave the file") {
    dead_stream stream;
    stream.dies_after([](writer& to) {
        must(to.allocate(1000, "a"));
        must(to.allocate(1000, "b"));
    });
    const auto whole = read_image(stream.file);
    const auto change = [&](auto edit) {
        auto cold = peek<format::slot_cold>(stream.file, stream.slot(1));
        edit(cold);
        cold.place_crc = format::place_crc(cold);
        cold.crc = format::cold_crc(cold, format::generation_of(cold.state));
        poke(stream.file, stream.slot(1), cold);
        const auto before = read_image(stream.file);
        CHECK(code_of(writer::open(stream.file)) == "corrupt");
        CHECK(read_image(stream.file) == before);
        write_image(stream.file, whole);
    };
    change([](auto& c) { c.extent_offset -= 64; });
    change([](auto& c) { c.extent_offset = 64 << 10; });
    change([](auto& c) { c.extent_bytes = 1 << 20; });
    change([](auto& c) { c.extent_bytes = 64; });
    change([](auto& c) { c.extent_offset += 64; });  // the extent header is elsewhere
}

}  // namespace
