// Faults one after another: a second kill, a copy made in the middle, a reader that was there before.
#include "tests/crash/dead_stream.hpp"
#include "tests/crash/killed_program.hpp"
#include "tests/support/forced_cache_lines.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using found = recovery_report::state;

TEST_CASE("a kill inside a batch and one between two commit stores give no sequence twice and hide no entry") {
    const forced_cache_lines forced;  // in pages the batch counts
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        must(to.append(where, bytes_of("a")));
        const std::span<const std::byte> batch[] = {bytes_of("b"), bytes_of("c")};
        must(to.append_batch(where, batch));
    });
    // As if it had died with the batch whole and no word of its commit stored.
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
    poke(stream.file, stream.commit_sequence(0), std::uint64_t{1});
    poke(stream.file, stream.stream_sequence, std::uint64_t{1});
    // The same length as "b", so that "c" lies behind it again; and then the region knows of it and the stream does not.
    stream.dies_after([](writer& to) { must(to.append(must(to.find("r")), bytes_of("B"))); });
    poke(stream.file, stream.stream_sequence, std::uint64_t{1});
    bool closes = false;
    SUBCASE("closed then") {
        closes = true;
    }
    SUBCASE("dead again") {}
    if (closes) {
        const auto to = stream.write();
        CHECK(texts_of(must(stream.read().follow_all())) == texts{"a", "B"});
    } else {
        stream.dies_after([](writer&) {});
    }
    const auto to = stream.write();
    CHECK(to_uint(must(to->append(must(to->find("r")), bytes_of("C")))) == 3);
    CHECK(content(stream) == texts{"a", "B", "C"});
    CHECK(texts_of(must(stream.read().follow_all())) == texts{"a", "B", "C"});
}

/// Makes of `copy` a stream of which the first part was copied while it was closed, and the rest, from that offset on,
/// after another writer had gone on.
void copy_in_the_middle(const dead_stream& copy, std::uint64_t from) {
    const dead_stream stream;
    {
        const auto to = stream.write();
        must(to->append(must(to->allocate(2000, "r")), bytes_of("a")));
    }
    auto image = read_image(stream.file);
    stream.dies_after([](writer& to) {
        for (const char* text : {"x", "y"})
            must(to.append(must(to.find("r")), bytes_of(text)));
    });
    const auto later = read_image(stream.file);
    std::copy(later.begin() + static_cast<std::ptrdiff_t>(from), later.end(),
              image.begin() + static_cast<std::ptrdiff_t>(from));
    write_image(copy.file, image);
}

TEST_CASE("a copy begun before a writer opened shows nothing that was never its own") {
    // Header and table are from before, entries from after: it says that it is clean.
    const dead_stream copy;
    copy_in_the_middle(copy, 7936);
    copy.dies_after([](writer& to) {
        if (to.recovery().found != found::clean)
            give_up("not found clean");
        must(to.append(must(to.find("r")), bytes_of("X")));
    });
    CHECK(content(copy) == texts{"a", "X"});
    copy.reboot();
    CHECK(copy.write()->recovery().found == found::rescanned);
    CHECK(content(copy) == texts{"a", "X"});
}

TEST_CASE("a copy begun before a writer opened, the table after, is rescanned by a writer and corrupt for a reader") {
    const dead_stream copy;
    copy_in_the_middle(copy, format::first_segment_offset);
    CHECK(code_of(reader::open(copy.file)) == "ok");
    CHECK(code_of(copy.read().regions()) == "corrupt");
    const auto to = copy.write();
    CHECK(to->recovery().found == found::rescanned);
    const auto shown = content(copy);
    CHECK(shown.size() >= 1);
    CHECK(shown.front() == "a");
    must(to->append(must(to->find("r")), bytes_of("X")));
    CHECK(content(copy).back() == "X");
}

TEST_CASE("a copy whose opening is killed is still taken for one by the next") {
    using base::kill_point;
    for (const bool closed : {false, true})
        for (const auto point : {kill_point::open_recovered, kill_point::open_epoch_stored, kill_point::open_done}) {
            CAPTURE(closed);
            CAPTURE(static_cast<int>(point));
            const dead_stream stream;
            const auto fill = [](writer& to) { must(to.append(must(to.allocate(2000, "r")), bytes_of("a"))); };
            if (closed)
                fill(*stream.write());
            else
                stream.dies_after(fill);
            const dead_stream copy;
            std::filesystem::copy_file(stream.file, copy.file, std::filesystem::copy_options::overwrite_existing);
            const auto epoch = copy.read().info().epoch;
            killed_program opening({"open", copy.file.string()}, dies_at(point, 1));
            const auto end = opening.wait();
            REQUIRE((end.signalled && end.code == SIGKILL));
            // Far above the epochs of those who may have gone on writing while it was copied.
            const auto to = copy.write();
            CHECK(copy.read().info().epoch >= epoch + core::foreign_epochs);
            CHECK(content(copy) == texts{"a"});
            must(to->append(must(to->find("r")), bytes_of("b")));
            CHECK(content(copy) == texts{"a", "b"});
        }
}

TEST_CASE("a cursor from before a recovery does not run ahead of the writer that recovered") {
    dead_stream stream;
    stream.dies_after([](writer& to) {
        const region where = must(to.allocate(2000, "r"));
        for (const char* text : {"a", "b", "c", "d"})
            must(to.append(where, bytes_of(text)));
    });
    flip(stream.file, stream.entry_at(0, 1) + 16);
    stream.reboot();
    const auto from = stream.read();
    auto cursor = must(from.follow(must(from.find("r")), {.registered = false}));
    CHECK(text_of(must(cursor.next())->payload()) == "a");
    const auto to = stream.write();  // cuts the others
    must(to->append(must(to->find("r")), bytes_of("B")));
    // As in the moment before its commit offset is stored.
    const auto end = stream.entry_at(0, 2);
    poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 1));
    CHECK_FALSE(must(cursor.next()).has_value());
    poke(stream.file, stream.commit_offset(0), end);
    CHECK(text_of(must(cursor.next())->payload()) == "B");
}

}  // namespace
