// Streams through the public API, whatever the medium.
#include "tests/medium/place.hpp"
#include "tests/support/child.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include "src/format/layout.hpp"
#include "tools/verify/verify.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

struct stream_on_medium {
    room in;
    const std::filesystem::path& file = in.path();

    stream_on_medium() {
        create_options options;
        options.block_bytes = 64;
        options.stream_bytes = room::bytes;
        options.overwrite_device = place::chosen().is_device;
        must(create(file, options));
    }

    [[nodiscard]] static writer_options how() {
        writer_options options;
        options.without_control = true;
        options.sync_by = place::chosen().sync_by;
        return options;
    }
    [[nodiscard]] std::unique_ptr<writer> write() const { return must(writer::open(file, how())); }
    [[nodiscard]] reader read() const { return must(reader::open(file, {.without_control = true})); }
};

/// Entry `number` (from 1), its region included.
std::vector<std::byte> payload(std::uint64_t number) {
    constexpr std::size_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 500, 4096, 70'000};
    return numbered_payload(9, number, sizes[number % std::size(sizes)]);
}

void append(writer& to, const std::vector<region>& where, std::uint64_t first, std::uint64_t last,
            horizon how = horizon::committed) {
    for (std::uint64_t i = first; i <= last; ++i)
        REQUIRE(to_uint(must(to.append(where[i % where.size()], payload(i), how))) == i);
}

/// How many entries there are, each as it was appended and none missing.
std::uint64_t count_entries(const std::filesystem::path& file, horizon horizon = horizon::committed) {
    std::uint64_t count = 0;
    const auto from = must(reader::open(file, {.without_control = true}));
    auto all = must(from.follow_all({.horizon = horizon, .check_crc = true}));
    for (const entry& shown : all) {
        ++count;
        REQUIRE(to_uint(shown.sequence()) == count);
        const auto expected = payload(count);
        REQUIRE(std::ranges::equal(shown.payload(), expected));
    }
    must(all.status());
    return count;
}

void check_verifies(const std::filesystem::path& file, std::uint64_t entries) {
    const auto report = tools::verify_stream(file);
    CHECK(report.findings.empty());
    std::uint64_t found = 0;
    for (const auto& region : report.regions)
        found += region.entries;
    CHECK(found == entries);
}

TEST_CASE("what was persisted is in a copy made at that moment, opens there, reads and verifies") {
    const stream_on_medium stream;
    const auto to = stream.write();
    std::vector<region> where;
    for (const char* const name : {"a", "b", "c"})
        where.push_back(must(to->allocate(2 << 20, name)));
    append(*to, where, 1, 60);
    must(to->persist());
    CHECK(to->persisted() == sequence{60});
    append(*to, where, 61, 70);
    const auto copy = stream.in.copy();
    CHECK(count_entries(stream.file, horizon::persisted) == 60);
    append(*to, where, 71, 80, horizon::persisted);
    must(to->close());
    CHECK(count_entries(stream.file) == 80);
    check_verifies(stream.file, 80);

    CHECK(count_entries(copy, horizon::persisted) == 60);
    const auto after = must(writer::open(copy, stream_on_medium::how()));
    CHECK(after->recovery().found == recovery_report::state::rescanned);
    CHECK(after->recovery().entries_recovered == 10);
    CHECK(count_entries(copy) == 70);
    check_verifies(copy, 70);
}

TEST_CASE("a stream tells of its medium what the mapping tells") {
    const stream_on_medium stream;
    const auto& chosen = place::chosen();
    for (int again = 0; again < 2; ++again) {
        const auto to = stream.write();
        for (const auto& info : {to->info(), stream.read().info()}) {
            CHECK(info.granularity == chosen.expected.value_or(info.granularity));
            CHECK(info.granularity_forced == chosen.expected_forced);
            CHECK(info.synced_by.has_value() == (info.granularity == granularity::page));
            if (info.synced_by && chosen.sync_by != page_sync::automatic)
                CHECK(info.synced_by == chosen.sync_by);
        }
    }
    CHECK(stream.read().info().clean);
}

TEST_CASE("a killed writer leaves everything it appended, in many regions, and the next one goes on") {
    const stream_on_medium stream;
    constexpr std::uint64_t regions = 40;  // the table grows, and each has an end to be settled
    child writing([&] {
        const auto to = stream.write();
        std::vector<region> where;
        for (std::uint64_t i = 0; i < regions; ++i)
            where.push_back(must(to->allocate(200'000)));
        append(*to, where, 1, 200);
        append(*to, where, 201, 220, horizon::persisted);
        append(*to, where, 221, 250);
        ::kill(::getpid(), SIGKILL);
        return 1;
    });
    CHECK(writing.wait().signalled);
    std::optional<recovery_report::state> expected = recovery_report::state::process_died;
    SUBCASE("a process died") {}
    SUBCASE("as after a loss of power") {
        const std::string other_boot = "another boot    ";
        const int fd = ::open(stream.file.c_str(), O_WRONLY | O_CLOEXEC);
        REQUIRE(::pwrite(fd, other_boot.data(), 16, format::header_offset + offsetof(format::identity_line, boot_id)) ==
                16);
        ::close(fd);
        expected = recovery_report::state::rescanned;
    }
    {
        const auto to = stream.write();
        CHECK(to->recovery().found == expected);
        CHECK(to->recovery().regions_cut_before_whole_entries == 0);
        std::vector<region> where;
        for (const auto& about : must(to->regions()))
            where.push_back(about.handle);
        CHECK(where.size() == regions);
        CHECK(count_entries(stream.file) == 250);
        append(*to, where, 251, 300);
        must(to->persist());
        CHECK(count_entries(stream.in.copy(), horizon::persisted) == 300);
    }
    CHECK(count_entries(stream.file) == 300);
    check_verifies(stream.file, 300);
}

TEST_CASE("a policy moves the persisted horizon without being asked") {
    const stream_on_medium stream;
    auto options = stream_on_medium::how();
    options.policy.every = std::chrono::milliseconds(1);
    const auto to = must(writer::open(stream.file, options));
    const std::vector<region> where{must(to->allocate(1 << 20)), must(to->allocate(1 << 20))};
    append(*to, where, 1, 20);
    while (to->persisted() < sequence{20})
        ::usleep(1000);
    CHECK(count_entries(stream.in.copy(), horizon::persisted) == 20);
}

}  // namespace
