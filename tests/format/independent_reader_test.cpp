#include "tests/format/sample_streams.hpp"
#include "tests/support/stream_dump.hpp"
#include "tests/support/temp_dir.hpp"

#include <pmemstream/writer.hpp>

#include "src/format/layout.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

struct python_dump {
    std::vector<std::string> lines;
    int exit_code = -1;
};

python_dump read_with_python(const std::filesystem::path& file, const char* order) {
    python_dump got;
    const auto command =
        fmt::format("python3 '{}' --order {} '{}' 2>&1", PMEMSTREAM_STREAM_READER, order, file.string());
    FILE* pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string text;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
        if (c != '\n') {
            text += static_cast<char>(c);
            continue;
        }
        got.lines.push_back(std::move(text));
        text.clear();
    }
    const int status = ::pclose(pipe);
    got.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return got;
}

/// Both readers in both orders; gives the merged dump.
stream_dump compare(const std::filesystem::path& file) {
    for (const char* order : {"region", "merged"}) {
        const auto ours = order[0] == 'r' ? dump_by_region(file) : dump_merged(file);
        const auto theirs = read_with_python(file, order);
        CAPTURE(order);
        REQUIRE_MESSAGE(ours.whole(), (ours.refused ? ours.refused : ours.ended)->message());
        const auto expected = to_json_lines(ours);
        CHECK(theirs.exit_code == 0);
        REQUIRE(theirs.lines.size() == expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i)
            REQUIRE(theirs.lines[i] == expected[i]);
    }
    return dump_merged(file);
}

std::uint64_t entry_bytes_in(const stream_dump& dump, region where) {
    std::uint64_t sum = 0;
    for (const auto& e : dump.entries)
        if (e.where == where)
            sum += 16 + (e.payload.size() + 7) / 8 * 8;
    return sum;
}

void poke(const std::filesystem::path& file, std::uint64_t offset, std::uint64_t value) {
    std::fstream image(file, std::ios::in | std::ios::out | std::ios::binary);
    image.seekp(static_cast<std::streamoff>(offset));
    image.write(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

TEST_CASE("the independent reader sees every entry of a rich stream, for every size of a block") {
    const temp_dir dir;
    for (const std::uint64_t block_bytes : {64, 512, 4096}) {
        CAPTURE(block_bytes);
        const auto file = dir / fmt::format("rich_{}", block_bytes);
        make_rich_stream(file, block_bytes);
        const auto dump = compare(file);

        // What the stream was to hold, it holds.
        CHECK(dump.regions.size() == rich_regions_min + 4);
        CHECK(dump.entries.size() > 60);
        std::set<std::uint64_t> sizes;
        std::set<std::uint32_t> slots;
        for (const auto& e : dump.entries) {
            sizes.insert(e.payload.size());
            slots.insert(e.where.index());
        }
        CHECK(sizes.count(0) == 1);
        CHECK(sizes.count(1000) == 1);
        CHECK(*slots.rbegin() >= 18);  // behind the first segment of the table
        std::set<std::string> names;
        std::uint64_t fillers_bytes = 0;
        for (const auto& r : dump.regions) {
            names.insert(r.name);
            fillers_bytes += r.used_bytes - entry_bytes_in(dump, r.handle);
        }
        CHECK(fillers_bytes == (16 + 24) + (16 + 40));
        CHECK(names.count("passing") == 0);
        CHECK(names.count("reused") == 1);
        CHECK(names.count("wiped") == 1);
        CHECK(names.count("") == 1);
    }
}

TEST_CASE("the independent reader stops where a killed writer stopped, and where a recovery cut") {
    const temp_dir dir;
    const auto killed = dir / "killed";
    make_rich_stream(killed, 64);
    const auto before = dump_merged(killed);
    append_and_die(killed);
    const auto after_kill = compare(killed);
    CHECK(after_kill.entries.size() == before.entries.size() + 5);

    const auto cut = dir / "cut";
    copy_torn_and_recover(killed, cut);
    const auto after_cut = compare(cut);
    CHECK(after_cut.entries.size() == before.entries.size() + 4);

    {
        const auto writer = writer::open(cut, {.control_mode = {}, .without_control = true});
        REQUIRE(writer);
        const auto alpha = (*writer)->find("alpha");
        REQUIRE(alpha);
        const std::vector<std::byte> payload(29, std::byte{1});  // as long as what was cut
        REQUIRE((*writer)->append(*alpha, payload));
        CHECK(compare(cut).entries.size() == after_cut.entries.size() + 1);  // beside a live writer
    }
    CHECK(compare(cut).entries.size() == after_cut.entries.size() + 1);
}

TEST_CASE("an entry beyond the stream's committed sequence is in its region, but not yet in merged order") {
    const temp_dir dir;
    const auto file = dir / "behind";
    make_rich_stream(file, 64);
    append_and_die(file);
    const auto before = compare(file);
    const std::uint64_t newest = to_uint(before.entries.back().sequence);
    poke(file, format::header_offset + offsetof(format::shared_header, commit), newest - 1);
    CHECK(compare(file).entries.size() == before.entries.size() - 1);
    CHECK(dump_by_region(file).entries.size() == before.entries.size());
}

TEST_CASE("an empty stream has nothing to show to either reader") {
    const temp_dir dir;
    const auto file = dir / "empty";
    REQUIRE(create(file, {.stream_bytes = 16384, .block_bytes = 64, .file_mode = {}}));
    CHECK(compare(file).entries.empty());
}
