#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <unistd.h>
#include <cstdint>
#include <ctime>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

TEST_CASE("info tells what a stream is from the first moment") {
    const small_stream stream;
    const auto info = stream.read().info();
    CHECK(info.file == stream.file);
    CHECK(info.format_version == 1);
    CHECK(to_string(info.uuid) != "00000000-0000-0000-0000-000000000000");
    const auto now = static_cast<std::uint64_t>(std::time(nullptr));
    CHECK(info.creation_ns / 1'000'000'000 <= now + 1);
    CHECK(info.creation_ns / 1'000'000'000 + 600 > now);
    CHECK(info.stream_bytes == 1 << 20);
    CHECK(info.block_bytes == 64);
    CHECK(info.free_bytes == (1 << 20) - 7936);
    CHECK(info.largest_free_bytes == info.free_bytes);
    CHECK(info.regions == 0);
    CHECK(info.region_slots == 8);
    CHECK(info.stream_bytes_max == std::uint64_t{1} << 40);
    CHECK(info.lineage != 0);
    CHECK(info.epoch == 0);
    CHECK(info.clean);
    CHECK(info.committed == sequence::none);
    CHECK(info.persisted == sequence::none);
    CHECK(to_string(granularity::byte) == "byte");
    CHECK(to_string(granularity::cache_line) == "cache line");
    CHECK(to_string(granularity::page) == "page");
}

TEST_CASE("writer and reader see the same moving values, and the persisted ones follow at close") {
    const small_stream stream;
    const auto from = stream.read();
    region where;
    {
        const auto to = stream.write();
        where = must(to->allocate(1000, "r"));
        must(to->append(where, bytes_of("1")));
        must(to->append(where, bytes_of("2")));
        for (const auto& info : {to->info(), from.info()}) {
            CHECK(info.epoch == 1);
            CHECK_FALSE(info.clean);
            CHECK(info.regions == 1);
            CHECK(info.free_bytes == (1 << 20) - 7936 - 1152);
            CHECK(to_uint(info.committed) == 2);
            CHECK(to_uint(info.persisted) <= 2);
        }
        CHECK(to_uint(from.committed()) == 2);
        CHECK(from.writer().alive);
        CHECK(from.writer().restarted);
        CHECK(from.writer().pid == static_cast<std::uint32_t>(::getpid()));
        must(to->close());
        CHECK_FALSE(from.writer().alive);
    }
    const auto info = from.info();
    CHECK(info.clean);
    CHECK(info.epoch == 1);
    CHECK(to_uint(info.persisted) == 2);
    CHECK(to_uint(from.persisted()) == 2);
    const auto r = must(from.describe(where));
    CHECK(r.persisted_end == r.committed_end);
    CHECK(to_uint(r.persisted) == 2);
    {
        const auto later = stream.read();
        const auto to = stream.write();
        CHECK(to->info().epoch == 2);
        CHECK(later.writer().restarted);
        CHECK(later.writer().epoch == 2);
    }
    CHECK_FALSE(stream.read().writer().restarted);
}

TEST_CASE("a handle is a plain value that names one generation of one slot") {
    CHECK(region() == region(0, 0));
    CHECK(region(1, 2) == region(1, 2));
    CHECK(region(1, 2) != region(1, 3));
    CHECK(region(1, 2) != region(2, 2));
    CHECK(region(7, 9).index() == 7);
    CHECK(region(7, 9).generation() == 9);
}

}  // namespace
