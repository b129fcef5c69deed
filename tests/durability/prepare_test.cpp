// Space ahead of the commit offset, on a disk: written before entries come to lie there.
#include "tests/durability/watched_medium.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/test_payloads.hpp"

#include "src/format/layout.hpp"

#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

/// A folder where files lie on a disk, which /dev/shm is not.
struct disk_dir {
    std::filesystem::path path;
    disk_dir() {
        std::string name = "/var/tmp/pmemstream-test-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr)
            give_up("cannot make a folder in /var/tmp");
        path = name;
    }
    ~disk_dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    disk_dir(const disk_dir&) = delete;
    disk_dir& operator=(const disk_dir&) = delete;
};

/// Bytes of the range that are set aside and not written; -1: the file system does not tell.
std::int64_t unwritten_bytes(const std::filesystem::path& file, std::uint64_t begin, std::uint64_t end) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    constexpr unsigned extents_max = 256;
    auto buffer = std::make_unique<std::array<std::byte, sizeof(fiemap) + extents_max * sizeof(fiemap_extent)>>();
    auto& map = *reinterpret_cast<fiemap*>(buffer->data());
    map.fm_start = begin;
    map.fm_length = end - begin;
    map.fm_flags = FIEMAP_FLAG_SYNC;
    map.fm_extent_count = extents_max;
    const int done = ::ioctl(fd, FS_IOC_FIEMAP, &map);
    ::close(fd);
    if (done != 0)
        return -1;
    std::int64_t bytes = 0;
    for (unsigned i = 0; i < map.fm_mapped_extents; ++i) {
        const auto& extent = map.fm_extents[i];
        if ((extent.fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0)
            bytes += static_cast<std::int64_t>(std::min<std::uint64_t>(extent.fe_logical + extent.fe_length, end) -
                                               std::max<std::uint64_t>(extent.fe_logical, begin));
    }
    return bytes;
}

TEST_CASE("what lies ahead of the commit offset is written before entries are, and no entry is harmed by that") {
    const disk_dir dir;
    const auto file = dir.path / "stream";
    must(create(file, {.stream_bytes = 64 << 20}));
    if (unwritten_bytes(file, 1 << 20, 2 << 20) <= 0) {
        std::puts("the file system of /var/tmp tells nothing of unwritten space");
        std::exit(77);
    }
    writer_options options;
    options.without_control = true;
    options.prepare_ahead_bytes = 2 << 20;
    const auto to = must(writer::open(file, options));
    const region where = must(to->allocate(48 << 20));
    const auto begin = to_uint(must(to->describe(where)).begin);
    CHECK(eventually([&] { return unwritten_bytes(file, begin, begin + (2 << 20)) == 0; }));
    CHECK(unwritten_bytes(file, begin + (4 << 20), begin + (40 << 20)) == 36 << 20);
    // A fast appender beside it, which runs into what is being made ready.
    std::uint64_t appended = 0;
    while (to->append(where, numbered_payload(9, appended, appended % 300)))
        ++appended;
    must(to->persist());
    const auto from = must(reader::open(file, {.without_control = true}));
    auto cursor = must(from.follow(where, {.check_crc = true}));
    std::uint64_t seen = 0;
    for (const entry& e : cursor) {
        const auto expected = numbered_payload(9, seen, seen % 300);
        REQUIRE(std::ranges::equal(e.payload(), expected));
        ++seen;
    }
    CHECK(cursor.status().has_value());
    CHECK(seen == appended);
}

TEST_CASE("a refusal that is met on the way ahead is not kept from those who wait") {
    const disk_dir dir;
    const auto file = dir.path / "stream";
    must(create(file, {.stream_bytes = 16 << 20}));
    watched_medium medium(file);
    writer_options options;
    options.without_control = true;
    options.prepare_ahead_bytes = 1 << 20;
    const auto to = must(writer::open(file, options));
    const region where = must(to->allocate(8 << 20));
    must(to->append(where, numbered_payload(1, 1, 10)));
    medium.refuse_with = EIO;
    // Nobody waits, so nobody flushes but the one who prepares: what it is refused stands in the header.
    for (int i = 0; i < 3000; ++i)
        must(to->append(where, numbered_payload(1, 1, 1000)));
    CHECK(eventually([&] {
        const auto at = format::header_offset + offsetof(format::identity_line, medium_flags);
        return (peek<std::uint32_t>(file, at) & format::medium_error_flag) != 0;
    }));
    medium.refuse_with = 0;
    CHECK(code_of(to->wait_persisted(sequence{1})) == "io");
}

}  // namespace
