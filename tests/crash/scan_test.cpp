#include "src/recovery/scan.hpp"
#include "src/format/entry.hpp"
#include "src/recovery/trust.hpp"
#include "tests/support/entry_crc.hpp"
#include "tests/support/test_payloads.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

// The pure half of opening: which row applies, and how far a rescan believes what is behind a persisted offset.

namespace {

using namespace pmemstream;
using namespace pmemstream::core;
using format::entry_meta;
using test::bytes_of;

TEST_CASE("the table for opening has a row for everything that a header can say") {
    unsigned clean = 0, process_died = 0, rescan = 0;
    file_identity now;
    now.boot_id[3] = std::byte{7};
    now.device = 11;
    now.inode = 12;
    for (unsigned bits = 0; bits < 64; ++bits) {
        format::identity_line line{};
        line.boot_id = now.boot_id;
        line.st_dev = now.device;
        line.st_ino = now.inode;
        line.epoch = 5;
        line.clean_epoch = (bits & 1) != 0 ? 5 : 4;
        if ((bits & 2) != 0)
            line.boot_id[15] = std::byte{1};
        line.st_dev += (bits & 4) != 0 ? 1 : 0;
        line.st_ino += (bits & 8) != 0 ? 1 : 0;
        line.medium_flags = (bits & 16) != 0 ? format::medium_error_flag : 0;
        line.writer_pid = (bits & 32) != 0 ? 77 : 0;  // says nothing
        const auto expected = (bits & 1) != 0 ? trust::clean : (bits & 30) == 0 ? trust::process_died : trust::rescan;
        CHECK(decide_trust(line, now) == expected);
        ++(expected == trust::clean ? clean : expected == trust::process_died ? process_died : rescan);
    }
    CHECK(clean == 32);
    CHECK(process_died == 2);
    CHECK(rescan == 30);
}

TEST_CASE("a stream that no writer ever opened is clean") {
    CHECK(decide_trust(format::identity_line{}, file_identity{{}, 1, 2}) == trust::clean);
}

/// The bytes of a region behind a persisted offset.
struct region_bytes {
    static constexpr std::uint64_t offset = 8192;
    std::vector<std::byte> bytes;
    std::uint32_t seed = format::entry_crc_seed({}, 3);
    std::uint64_t epoch = 10;
    std::uint64_t previous = 100;

    region_bytes& add(std::string_view payload, std::uint64_t sequence, std::uint64_t of_epoch = 10,
                      std::uint64_t flags = 0) {
        const auto at = bytes.size();
        bytes.resize(at + format::entry_bytes(payload.size()));
        const std::uint64_t meta = sequence | entry_meta::epoch_bits(of_epoch) | flags;
        std::memcpy(bytes.data() + at + 16, payload.data(), payload.size());
        const auto length = static_cast<std::uint32_t>(payload.size());
        const auto crc = test::expected_crc(bytes.data() + at, length, of_epoch, meta, offset + at, seed);
        const format::entry_header header{length, crc, meta};
        std::memcpy(bytes.data() + at, &header, sizeof header);
        return *this;
    }
    region_bytes& batch_member(std::string_view payload, std::uint64_t sequence) {
        return add(payload, sequence, 10, entry_meta::more_bit);
    }
    region_bytes& filler(std::string_view left) { return add(left, 0, 10, entry_meta::system_bit); }
    region_bytes& never_written(std::size_t count) {
        bytes.resize(bytes.size() + count);
        return *this;
    }
    template <class T>
    region_bytes& put(std::size_t at, T value) {
        std::memcpy(bytes.data() + at, &value, sizeof value);
        return *this;
    }
    [[nodiscard]] scan_result scanned() const { return scan({bytes, offset, previous, seed, epoch}); }
};

/// `end`: counted from the persisted offset.
void check(const scan_result& found, std::uint64_t end, std::uint64_t sequence, std::uint64_t entries, bool cut,
           bool whole_behind = false) {
    CHECK(found.end == region_bytes::offset + end);
    CHECK(found.sequence == sequence);
    CHECK(found.entries == entries);
    CHECK(found.cut == cut);
    CHECK(found.whole_entry_behind == whole_behind);
}

/// Three entries of 24 bytes with sequences 101 to 103, and room behind them.
region_bytes three() {
    return region_bytes().add("one", 101).add("two", 102).add("three", 103).never_written(100);
}

TEST_CASE("nothing behind the persisted offset is nothing found and nothing cut") {
    check(region_bytes().scanned(), 0, 100, 0, false);
    check(region_bytes().never_written(8).scanned(), 0, 100, 0, false);
    check(region_bytes().never_written(16).scanned(), 0, 100, 0, false);
    check(region_bytes().never_written(4096).scanned(), 0, 100, 0, false);
}

TEST_CASE("whole entries are found up to where nothing was written, or to the end of the region") {
    check(three().scanned(), 72, 103, 3, false);
    check(region_bytes().add("one", 101).add("", 102).scanned(), 40, 102, 2, false);
    check(region_bytes().add("one", 101).never_written(8).scanned(), 24, 101, 1, false);
    check(region_bytes().add("gaps", 150).add("are", 151).add("fine", 900).scanned(), 72, 900, 3, false);
}

TEST_CASE("a torn entry is cut with all behind it, and that a later one is whole is told") {
    // A payload byte.
    check(three().put(24 + 16, 'T').scanned(), 24, 101, 1, true, true);
    check(three().put(48 + 16, 'T').scanned(), 48, 102, 2, true, false);
    check(three().put(16, 'O').scanned(), 0, 100, 0, true, true);
    // A CRC.
    check(three().put(24 + 4, 12345u).scanned(), 24, 101, 1, true, true);
    check(three().put(24 + 4, 0u).scanned(), 24, 101, 1, true, true);
    // Half of a header.
    check(three().put(24 + 8, std::uint64_t{0}).scanned(), 24, 101, 1, true, true);
    check(three().put(24, std::uint64_t{0}).scanned(), 24, 101, 1, true, true);
    // All of it: what power loss most likely leaves of a sector that was never written.
    check(three().put(24, std::uint64_t{0}).put(32, std::uint64_t{0}).scanned(), 24, 101, 1, true, true);
    check(region_bytes().never_written(4096).add("late", 101).scanned(), 0, 100, 0, true, true);
    // Two damaged ones, the third behind them.
    check(three().add("four", 104).put(24 + 16, 'T').put(48 + 16, 'T').scanned(), 24, 101, 1, true);
    check(region_bytes()
              .add("one", 101)
              .add("two", 102)
              .add("three", 103)
              .add("four", 104)
              .put(24 + 16, 'T')
              .put(48 + 16, 'T')
              .scanned(),
          24, 101, 1, true, true);
}

TEST_CASE("an entry with an absurd length is cut, and nothing is read where it points") {
    for (const std::uint32_t length : {173u, 1000u, 0x7fff'ffffu, 0xffff'ffffu, 0xffff'fff8u})
        check(three().put(24, length).scanned(), 24, 101, 1, true, true);
    // One that fits the region, but not the CRC.
    check(three().put(24, 4u).scanned(), 24, 101, 1, true, true);
}

TEST_CASE("sequences must increase, from the persisted one on") {
    check(region_bytes().add("one", 100).scanned(), 0, 100, 0, true);
    check(region_bytes().add("one", 99).scanned(), 0, 100, 0, true);
    check(region_bytes().add("one", 0).scanned(), 0, 100, 0, true);
    check(region_bytes().add("one", 101).add("two", 101).scanned(), 24, 101, 1, true);
    check(region_bytes().add("one", 105).add("two", 104).scanned(), 24, 105, 1, true);
    check(region_bytes().add("one", format::sequence_max).scanned(), 24, format::sequence_max, 1, false);
}

TEST_CASE("epochs may rise up to the header's, and neither fall nor exceed it") {
    check(region_bytes().add("a", 101, 8).add("b", 102, 8).add("c", 103, 9).add("d", 104, 10).scanned(), 96, 104, 4,
          false);
    check(region_bytes().add("a", 101, 9).add("b", 102, 8).scanned(), 24, 101, 1, true);
    check(region_bytes().add("a", 101, 10).add("b", 102, 11).scanned(), 24, 101, 1, true);
    check(region_bytes().add("a", 101, 11).scanned(), 0, 100, 0, true);
    // 128 epochs back is as good as from the future.
    region_bytes late;
    late.epoch = 200;
    check(late.add("a", 101, 73).add("b", 102, 200).scanned(), 48, 102, 2, false);
    region_bytes too_late;
    too_late.epoch = 200;
    check(too_late.add("a", 101, 72).scanned(), 0, 100, 0, true);
}

TEST_CASE("the epoch's eight bits wrap") {
    region_bytes wrapped;
    wrapped.epoch = 256 + 5;
    check(wrapped.add("a", 101, 250).add("b", 102, 255).add("c", 103, 256).add("d", 104, 261).scanned(), 96, 104, 4,
          false);
    region_bytes falling;
    falling.epoch = 256 + 5;
    check(falling.add("a", 101, 256).add("b", 102, 255).scanned(), 24, 101, 1, true);
    region_bytes future;
    future.epoch = 256 + 5;
    check(future.add("a", 101, 262).scanned(), 0, 100, 0, true);
}

TEST_CASE("a batch is found whole or cut whole, with what follows it") {
    check(region_bytes().batch_member("a", 101).batch_member("b", 102).add("c", 103).scanned(), 72, 103, 3, false);
    check(region_bytes().add("x", 101).batch_member("a", 102).batch_member("b", 103).never_written(64).scanned(), 24,
          101, 1, true);
    check(region_bytes().add("x", 101).batch_member("a", 102).batch_member("b", 103).scanned(), 24, 101, 1, true);
    check(region_bytes().add("x", 101).batch_member("a", 102).add("b", 103).add("y", 104).put(48 + 16, 'B').scanned(),
          24, 101, 1, true, true);
    // The batch begins at the persisted offset.
    check(region_bytes().batch_member("a", 101).never_written(64).scanned(), 0, 100, 0, true);
}

TEST_CASE("a filler is walked over, counts as nothing and takes no sequence") {
    check(region_bytes().filler("left").add("a", 101).filler("").filler("more left").scanned(), 24 + 24 + 16 + 32, 101,
          1, false);
    check(region_bytes().filler("only").never_written(32).scanned(), 24, 100, 0, false);
    // Its payload is whatever was left there, its header is not.
    check(region_bytes().filler("left").add("a", 101).put(16, 'X').scanned(), 48, 101, 1, false);
    check(region_bytes().filler("left").add("a", 101).put(4, 1u).scanned(), 0, 100, 0, true, true);
    // One of a type that nobody knows is kept; not one that claims to be part of a batch, or one inside a batch.
    check(region_bytes().add("x", 101, 10, entry_meta::system(format::system_type{9})).scanned(), 24, 100, 0, false);
    check(region_bytes().add("x", 0, 10, entry_meta::system_bit | entry_meta::more_bit).scanned(), 0, 100, 0, true);
    check(region_bytes().batch_member("a", 101).filler("x").add("b", 102).scanned(), 0, 100, 0, true, true);
    // Of another epoch.
    check(region_bytes().add("x", 0, 11, entry_meta::system_bit).scanned(), 0, 100, 0, true);
}

TEST_CASE("reserved bits are of a later format, or damage") {
    for (const unsigned bit : {62, 63}) {
        const auto found = region_bytes().add("a", 101).add("b", 102, 10, std::uint64_t{1} << bit).scanned();
        check(found, 24, 101, 1, true);
        CHECK(found.unsupported == region_bytes().add("a", 101).scanned().end);
        const auto damaged =
            region_bytes().add("a", 101).add("b", 102, 10, std::uint64_t{1} << bit).put(28, 1u).scanned();
        check(damaged, 24, 101, 1, true);
        CHECK(!damaged.unsupported);
    }
}

TEST_CASE("entries of an earlier generation, of another stream or from another place never pass") {
    auto of_earlier = three();
    of_earlier.seed = format::entry_crc_seed({}, 2);
    check(of_earlier.scanned(), 0, 100, 0, true);
    std::array<std::byte, 16> other{};
    other[0] = std::byte{1};
    auto of_other = three();
    of_other.seed = format::entry_crc_seed(other, 3);
    check(of_other.scanned(), 0, 100, 0, true);
    // The second entry copied over the first.
    auto moved = three();
    std::copy(moved.bytes.begin() + 24, moved.bytes.begin() + 48, moved.bytes.begin());
    check(moved.scanned(), 0, 100, 0, true, true);
}

TEST_CASE("what an earlier use of the blocks left behind the newest entry is cut off, and told as cut") {
    // One entry of this generation over four of the one before.
    region_bytes earlier;
    earlier.seed = format::entry_crc_seed({}, 2);
    earlier.add("old1", 101).add("old2", 102).add("old3", 103).add("old4", 104);
    auto bytes = region_bytes().add("new", 105);
    std::copy(bytes.bytes.begin(), bytes.bytes.end(), earlier.bytes.begin());
    earlier.seed = bytes.seed;
    check(earlier.scanned(), 24, 105, 1, true);
}

}  // namespace
