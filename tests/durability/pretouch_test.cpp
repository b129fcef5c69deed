// Pages ahead of the commit offset: present and writable in the writer's mapping before entries come to lie there.
#include "src/medium/seam.hpp"
#include "tests/durability/watched_medium.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/forced_cache_lines.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_payloads.hpp"
#include "tests/support/writer_mapping.hpp"

#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr std::uint64_t page = writer_mapping::page_bytes;
constexpr std::uint64_t mib = std::uint64_t{1} << 20;

struct scene {
    temp_dir dir;
    std::filesystem::path file = dir / "stream";
    std::unique_ptr<writer> w;

    explicit scene(std::uint64_t pretouch_bytes, horizon returns_at = horizon::committed) {
        must(create(file, {.stream_bytes = 64 * mib}));
        writer_options options;
        options.without_control = true;
        options.returns_at = returns_at;
        options.pretouch_ahead_bytes = pretouch_bytes;
        w = must(writer::open(file, options));
    }
    [[nodiscard]] std::uint64_t end_of(region r) const {
        const auto info = must(w->describe(r));
        return to_uint(info.begin) + info.used_bytes;
    }
    /// Of the whole pages behind the region's last entry.
    [[nodiscard]] bool ahead_is_present(region r, std::uint64_t bytes) const {
        const std::uint64_t first = (end_of(r) + page - 1) / page * page;
        return writer_mapping(file).present(first, bytes) == bytes / page;
    }
};

/// A kernel that does not know how.
struct old_kernel : medium::observer {
    old_kernel() { medium::observing = this; }
    ~old_kernel() override { medium::observing = nullptr; }
    int populate(const medium::mapping&) override {
        ++asked;
        return EINVAL;
    }
    std::atomic<unsigned> asked{0};
};

}  // namespace

TEST_CASE("pages ahead of the commit offset become present, so many and no more") {
    const scene s(4 * mib);
    const region r = must(s.w->allocate(32 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(r, 4 * mib - page); }));
    CHECK(writer_mapping(s.file).present(s.end_of(r) / page * page + 5 * mib, 16 * mib) == 0);
    // They follow the entries.
    const auto large = numbered_payload(1, 1, 3 * mib);
    must(s.w->append(r, large));
    CHECK(eventually([&] { return s.ahead_is_present(r, 3 * mib); }));
    must(s.w->append(r, large));
    CHECK(eventually([&] { return s.ahead_is_present(r, 3 * mib); }));
    must(s.w->close());
}

TEST_CASE("pages are not touched unless that is asked for") {
    const scene s(0);
    const region r = must(s.w->allocate(32 * mib));
    for (int i = 0; i < 20; ++i)
        must(s.w->append(r, numbered_payload(1, 1, 100'000)));
    CHECK(writer_mapping(s.file).present(s.end_of(r) / page * page + page, 16 * mib) == 0);
}

TEST_CASE("a window larger than the region ends with the region, and a new use of the blocks begins again") {
    const scene s(48 * mib);
    region r = must(s.w->allocate(8 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(r, 8 * mib - 2 * page); }));
    CHECK(writer_mapping(s.file).present(s.end_of(r) / page * page + 9 * mib, 16 * mib) == 0);
    must(s.w->free(r));
    r = must(s.w->allocate(16 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(r, 16 * mib - 2 * page); }));
    const region other = must(s.w->allocate(16 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(other, 16 * mib - 2 * page); }));
    must(s.w->close());
}

TEST_CASE("where the kernel cannot populate, the pages are touched one by one") {
    old_kernel kernel;
    const scene s(4 * mib);
    const region r = must(s.w->allocate(16 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(r, 4 * mib - page); }));
    CHECK(kernel.asked == 1);
    must(s.w->close());
}

TEST_CASE("an appender that runs into the pages being made present, and overtakes them, loses nothing") {
    const scene s(256 << 10);
    const region r = must(s.w->allocate(48 * mib));
    std::uint64_t appended = 0;
    while (s.w->append(r, numbered_payload(9, appended, appended % 3000)))
        ++appended;
    const auto from = must(reader::open(s.file, {.without_control = true}));
    auto cursor = must(from.follow(r, {.check_crc = true}));
    std::uint64_t seen = 0;
    for (const entry& e : cursor) {
        REQUIRE(std::ranges::equal(e.payload(), numbered_payload(9, seen, seen % 3000)));
        ++seen;
    }
    CHECK(cursor.status().has_value());
    CHECK(seen == appended);
    must(s.w->close());
}

TEST_CASE("who waits for entries to be persisted has single pages, and others what the file system has") {
    {
        const scene s(mib);
        if (writer_mapping(s.file).has_flag("hg"))  // the kernel has huge pages
            CHECK(!writer_mapping(s.file).has_flag("rr"));
        must(s.w->append(must(s.w->allocate(mib)), numbered_payload(1, 1, 10)));
        must(s.w->persist());
        CHECK(!writer_mapping(s.file).has_flag("hg"));
        CHECK(writer_mapping(s.file).has_flag("rr"));
    }
    const scene s(mib, horizon::persisted);
    CHECK(!writer_mapping(s.file).has_flag("hg"));
    CHECK(writer_mapping(s.file).has_flag("rr"));
    const region r = must(s.w->allocate(16 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(r, mib - page); }));
}

TEST_CASE("where single stores are flushed, pages are made present as well") {
    const forced_cache_lines forced;
    const scene s(2 * mib);
    const region r = must(s.w->allocate(16 * mib));
    CHECK(eventually([&] { return s.ahead_is_present(r, 2 * mib - page); }));
    must(s.w->close());
}
