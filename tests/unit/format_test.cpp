#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "src/format/system_entry.hpp"
#include "src/format/validate.hpp"
#include "src/format/words.hpp"
#include "tests/support/entry_crc.hpp"
#include "tests/support/expect.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::format;
using pmemstream::test::expected_crc;
using test::code_of;

constexpr std::uint64_t stream_bytes = 1 << 20;

superblock some_superblock() {
    superblock block{};
    block.magic = magic_stream;
    block.version = version;
    block.struct_bytes = sizeof block;
    block.block_bytes = 64;
    block.initial_stream_bytes = stream_bytes;
    block.stream_bytes_max = 16 * stream_bytes;
    block.first_segment_slots = 8;
    block.slot_bytes = sizeof(region_slot);
    block.uuid[0] = std::byte{7};
    block.header_offset = header_offset;
    block.table_offset = first_segment_offset;
    block.data_offset = 7936;
    block.crc = superblock_crc(block);
    return block;
}

std::string checked(const superblock& block, std::uint64_t file_bytes = stream_bytes) {
    std::vector<std::byte> sector(std::min<std::uint64_t>(sector_bytes, file_bytes));
    std::memcpy(sector.data(), &block, std::min(sector.size(), sizeof block));
    return code_of(check_superblock(sector, file_bytes, "file"));
}

TEST_CASE("check_superblock takes what create writes, and every flipped bit of it is refused") {
    const auto block = some_superblock();
    CHECK(checked(block) == "ok");
    CHECK(checked(block, stream_bytes - 1) == "truncated");
    CHECK(checked(block, 511) == "truncated");
    CHECK(checked(block, 7) == "not_a_stream");
    CHECK(code_of(check_superblock({}, 0, "file")) == "not_a_stream");
    unsigned refused = 0;
    for (std::size_t bit = 0; bit < 8 * sizeof block; ++bit) {
        auto flipped = block;
        reinterpret_cast<unsigned char*>(&flipped)[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
        refused += checked(flipped) == (bit < 64 ? "not_a_stream" : "corrupt") ? 1 : 0;
    }
    CHECK(refused == 8 * sizeof block);
}

TEST_CASE("the current size of a stream lies between its first size and the file's") {
    const auto block = some_superblock();
    CHECK(code_of(check_stream_bytes(size_word(stream_bytes), block, stream_bytes, "file")) == "ok");
    CHECK(code_of(check_stream_bytes(size_word(stream_bytes + 64), block, stream_bytes + 64, "file")) == "ok");
    CHECK(code_of(check_stream_bytes(size_word(stream_bytes + 64), block, stream_bytes, "file")) == "truncated");
    CHECK(code_of(check_stream_bytes(size_word(stream_bytes - 64), block, stream_bytes, "file")) == "corrupt");
    CHECK(code_of(check_stream_bytes(size_word(stream_bytes + 32), block, 2 * stream_bytes, "file")) == "corrupt");
    CHECK(code_of(check_stream_bytes(size_word(16 * stream_bytes + 64), block, ~std::uint64_t{0}, "file")) ==
          "corrupt");
}

segment_header some_segment(std::uint32_t index, std::uint32_t slots, std::uint64_t bytes) {
    segment_header segment{};
    segment.magic = magic_segment;
    segment.index = index;
    segment.slots = slots;
    segment.segment_bytes = bytes;
    segment.crc = segment_crc(segment);
    return segment;
}

TEST_CASE("a table segment must be whole, in order and inside the stream") {
    const auto block = some_superblock();
    const auto at = [&](const segment_header& segment, std::uint64_t offset, std::uint32_t index) {
        return code_of(check_segment(segment, offset, index, block, stream_bytes, "file"));
    };
    const auto first = some_segment(0, 8, 7936 - first_segment_offset);
    CHECK(at(first, first_segment_offset, 0) == "ok");
    CHECK(at(first, first_segment_offset, 1) == "corrupt");
    CHECK(at(some_segment(0, 7, 7936 - first_segment_offset), first_segment_offset, 0) == "corrupt");
    CHECK(at(some_segment(0, 8, 7936), first_segment_offset, 0) == "corrupt");
    const auto second = some_segment(1, 64, 24704);
    CHECK(at(second, 7936, 1) == "ok");
    CHECK(at(second, stream_bytes - 24704, 1) == "ok");
    CHECK(at(second, stream_bytes - 24704 + 64, 1) == "corrupt");
    CHECK(at(some_segment(1, 0, 24704), 7936, 1) == "corrupt");
    CHECK(at(some_segment(1, 65, 24704), 7936, 1) == "corrupt");
    CHECK(at(some_segment(1, 64, 24705), 7936, 1) == "corrupt");
    CHECK(at(some_segment(1, ~0u, ~std::uint64_t{63}), 7936, 1) == "corrupt");
    auto damaged = second;
    damaged.crc ^= 1;
    CHECK(at(damaged, 7936, 1) == "corrupt");
    damaged = second;
    damaged.magic ^= 1;
    damaged.crc = segment_crc(damaged);
    CHECK(at(damaged, 7936, 1) == "corrupt");
}

TEST_CASE("a link to the next segment leads to a block or nowhere") {
    const auto block = some_superblock();
    const auto follow = [&](std::uint64_t link) { return check_segment_link(link, block, stream_bytes, "file"); };
    CHECK(follow(0).value() == 0);
    CHECK(follow(7936 | segment_link_tag).value() == 7936);
    CHECK(code_of(follow(7936)) == "corrupt");
    CHECK(code_of(follow(first_segment_offset | segment_link_tag)) == "corrupt");
    CHECK(code_of(follow(segment_link_tag)) == "corrupt");
    CHECK(code_of(follow(stream_bytes | segment_link_tag)) == "corrupt");
    CHECK(code_of(follow((stream_bytes - 64) | segment_link_tag)) == "corrupt");
    CHECK(code_of(follow(~std::uint64_t{63} | segment_link_tag)) == "corrupt");
    for (unsigned bit = 0; bit < 64; ++bit)
        CHECK(follow((7936 | segment_link_tag) ^ (std::uint64_t{1} << bit)).value_or(1) != 0);
}

slot_cold some_cold(std::string_view name = "name") {
    slot_cold cold{};
    cold.state = state_word(5, slot_state::live);
    cold.extent_offset = 7936;
    cold.extent_bytes = 640;
    cold.first_sequence = 3;
    cold.log_id = 5;
    std::ranges::copy(name, cold.name.begin());
    cold.place_crc = place_crc(cold);
    cold.crc = cold_crc(cold, 5);
    return cold;
}

std::string checked(slot_cold cold, bool with_right_crc = true) {
    if (with_right_crc) {
        cold.place_crc = place_crc(cold);
        cold.crc = cold_crc(cold, generation_of(cold.state));
    }
    return code_of(check_cold(cold, 0, some_superblock(), stream_bytes, "file"));
}

TEST_CASE("a slot's cold part must verify and give an extent of whole blocks inside the stream") {
    CHECK(checked(some_cold(), false) == "ok");
    CHECK(name_of(some_cold()) == "name");
    CHECK(name_of(some_cold("")).empty());
    auto cold = some_cold();
    cold.extent_bytes = 128;
    CHECK(checked(cold, false) == "corrupt");
    CHECK(checked(cold) == "ok");
    cold.state = state_word(6, slot_state::live);
    CHECK(checked(cold, false) == "corrupt");
    // A log has the generation of its first region, and no other place 0.
    CHECK(checked(cold) == "corrupt");
    cold.place = 1;
    CHECK(checked(cold) == "ok");
    cold.log_id = 7;
    CHECK(checked(cold) == "corrupt");
    cold.log_id = 0;
    CHECK(checked(cold) == "corrupt");
    cold = some_cold();
    cold.place = 1;
    CHECK(checked(cold) == "corrupt");
    for (const auto& [offset, bytes] :
         std::vector<std::pair<std::uint64_t, std::uint64_t>>{{7872, 640},
                                                              {7937, 640},
                                                              {7936, 64},
                                                              {7936, 641},
                                                              {7936, stream_bytes},
                                                              {stream_bytes, 640},
                                                              {stream_bytes - 64, 128},
                                                              {~std::uint64_t{63}, 640},
                                                              {7936, ~std::uint64_t{63}}}) {
        cold = some_cold();
        cold.extent_offset = offset;
        cold.extent_bytes = bytes;
        CHECK(checked(cold) == "corrupt");
    }
    cold = some_cold();
    cold.flags = 0x8001'0001;
    CHECK(checked(cold) == "ok");
    CHECK(unknown_slot_flags(cold) == 0x8001'0000);
    CHECK(code_of(check_slot_flags(cold, 0, "file")) == "unsupported_format");
    cold.flags = 0xffff;
    CHECK(code_of(check_slot_flags(cold, 0, "file")) == "ok");
    cold = some_cold();
    cold.name.fill('n');
    CHECK(checked(cold) == "corrupt");
    cold = some_cold();
    cold.state = (std::uint64_t{5} << 8) | 0x55;
    CHECK(checked(cold) == "corrupt");
}

TEST_CASE("while a region is being cleared only its place is certain") {
    auto cold = some_cold();
    cold.state = state_word(9, slot_state::clearing);
    CHECK(checked(cold, false) == "ok");
    cold.first_sequence = 77;
    CHECK(checked(cold, false) == "ok");
    cold.extent_bytes += 64;
    CHECK(checked(cold, false) == "corrupt");
}

TEST_CASE("states differ in two bits at least, so that no flip makes one of another") {
    const slot_state states[] = {slot_state::free, slot_state::live, slot_state::clearing};
    for (const auto a : states)
        for (const auto b : states)
            if (a != b)
                CHECK(std::popcount(static_cast<unsigned>(a) ^ static_cast<unsigned>(b)) >= 2);
    CHECK(state_of(state_word(77, slot_state::live)) == slot_state::live);
    CHECK(generation_of(state_word(77, slot_state::live)) == 77);
}

TEST_CASE("an extent belongs to one stream, slot and generation") {
    const auto block = some_superblock();
    const auto cold = some_cold();
    const extent_header extent = [&] {
        extent_header made{magic_extent, block.uuid, 5, 640, 3, 7936, 0, 0};
        made.crc = extent_crc(made);
        return made;
    }();
    const auto with = [&](auto change) {
        auto changed = extent;
        change(changed);
        changed.crc = extent_crc(changed);
        return code_of(check_extent(changed, cold, 0, block, "file"));
    };
    CHECK(with([](auto&) {}) == "ok");
    CHECK(with([](auto& e) { e.magic ^= 1; }) == "corrupt");
    CHECK(with([](auto& e) { e.uuid[3] = std::byte{1}; }) == "corrupt");
    CHECK(with([](auto& e) { e.generation = 4; }) == "corrupt");
    CHECK(with([](auto& e) { e.extent_bytes = 704; }) == "corrupt");
    CHECK(with([](auto& e) { e.first_sequence = 2; }) == "corrupt");
    CHECK(with([](auto& e) { e.extent_offset = 8128; }) == "corrupt");
    CHECK(with([](auto& e) { e.flags = 1; }) != "ok");
    auto damaged = extent;
    damaged.crc ^= 0x100;
    CHECK(code_of(check_extent(damaged, cold, 0, block, "file")) == "corrupt");
}

TEST_CASE("offsets of a region are aligned, inside, and persisted not beyond committed") {
    const auto cold = some_cold();
    constexpr std::uint64_t head_bytes = 56;
    const auto check = [&](std::uint64_t committed, std::uint64_t persisted) {
        return code_of(check_offsets(committed, persisted, cold, head_bytes, 0, "file"));
    };
    const std::uint64_t begin = 7936 + 64 + head_bytes, end = 7936 + 640;
    CHECK(check(begin, begin) == "ok");
    CHECK(check(end, begin) == "ok");
    CHECK(check(end, end) == "ok");
    CHECK(check(begin + 8, begin + 16) == "corrupt");
    CHECK(check(begin + 4, begin) == "corrupt");
    CHECK(check(begin - 8, begin - 8) == "corrupt");
    CHECK(check(end + 8, begin) == "corrupt");
    CHECK(check(0, 0) == "corrupt");
}

TEST_CASE("an entry's header is judged by length, order and reserved bits") {
    constexpr auto more = entry_meta::more_bit, system = entry_meta::system_bit;
    CHECK(check_header(8, 5, 24, 4) == entry_fault::none);
    CHECK(check_header(8, 5 | more, 24, 4) == entry_fault::none);
    CHECK(check_header(8, 5, 23, 4) == entry_fault::beyond_end);
    CHECK(check_header(9, 5, 24, 4) == entry_fault::beyond_end);
    CHECK(check_header(~0u, 5, stream_bytes, 4) == entry_fault::beyond_end);
    CHECK(check_header(8, 5, 24, 5) == entry_fault::sequence_order);
    CHECK(check_header(8, 0, 24, 0) == entry_fault::sequence_order);
    // Of a system entry the sequence's place holds type and argument, whatever they are.
    CHECK(check_header(8, system, 24, 5) == entry_fault::none);
    CHECK(check_header(8, system | entry_meta::sequence_mask, 24, 5) == entry_fault::none);
    CHECK(check_header(8, system | more, 24, 5) == entry_fault::system_in_batch);
    CHECK(check_header(8, system | 5 | std::uint64_t{1} << 63, 24, 4) == entry_fault::reserved_bits);
    CHECK(fault_with_crc(entry_fault::reserved_bits, true) == entry_fault::unsupported);
    CHECK(fault_with_crc(entry_fault::reserved_bits, false) == entry_fault::reserved_bits);
    CHECK(fault_with_crc(entry_fault::none, true) == entry_fault::none);
    CHECK(fault_with_crc(entry_fault::none, false) == entry_fault::crc);
    CHECK(fault_with_crc(entry_fault::beyond_end, true) == entry_fault::beyond_end);
    CHECK(check_header(8, 5 | std::uint64_t{1} << 62, 24, 4) == entry_fault::reserved_bits);
    CHECK(check_header(8, 5 | std::uint64_t{1} << 63, 24, 4) == entry_fault::reserved_bits);
    CHECK(check_header(8, 5 | entry_meta::epoch_bits(255), 24, 4) == entry_fault::none);
    for (int fault = 0; fault <= static_cast<int>(entry_fault::crc); ++fault)
        CHECK(std::string_view(to_string(static_cast<entry_fault>(fault))) != "unknown");
}

TEST_CASE("the CRC of an entry depends on stream, generation, payload, length, epoch, meta and offset") {
    std::array<std::byte, 16> uuid{}, other{};
    other[15] = std::byte{1};
    std::array<std::byte, 24> entry{};
    entry[16] = std::byte{42};
    const auto crc = expected_crc(entry.data(), 8, 3, 5, 8192, entry_crc_seed(uuid, 1));
    CHECK(crc == expected_crc(entry.data(), 8, 3, 5, 8192, entry_crc_seed(uuid, 1)));
    CHECK(crc != expected_crc(entry.data(), 8, 3, 5, 8192, entry_crc_seed(other, 1)));
    CHECK(crc != expected_crc(entry.data(), 8, 3, 5, 8192, entry_crc_seed(uuid, 2)));
    CHECK(crc != expected_crc(entry.data(), 7, 3, 5, 8192, entry_crc_seed(uuid, 1)));
    CHECK(crc != expected_crc(entry.data(), 8, 3, 6, 8192, entry_crc_seed(uuid, 1)));
    CHECK(crc != expected_crc(entry.data(), 8, 3, 5, 8200, entry_crc_seed(uuid, 1)));
    // Of the epoch only what the header has no room for.
    CHECK(crc == expected_crc(entry.data(), 8, 255, 5, 8192, entry_crc_seed(uuid, 1)));
    CHECK(crc != expected_crc(entry.data(), 8, 256, 5, 8192, entry_crc_seed(uuid, 1)));
    auto changed = entry;
    changed[23] = std::byte{1};
    CHECK(crc != expected_crc(changed.data(), 8, 3, 5, 8192, entry_crc_seed(uuid, 1)));
    // A filler's payload is whatever was left there.
    for (unsigned type = 0; type < 256; ++type) {
        const auto meta = entry_meta::system(system_type{static_cast<std::uint8_t>(type)}, 77);
        const bool same =
            expected_crc(entry.data(), 8, 3, meta, 8192, 1) == expected_crc(changed.data(), 8, 3, meta, 8192, 1);
        CHECK(same == (type == 0 || type == 4));  // filler, lost
        CHECK(static_cast<unsigned>(entry_meta::type(meta)) == type);
        CHECK(entry_meta::argument(meta) == 77);
    }
}

TEST_CASE("what an epoch adds to the CRC of an entry is the same for every entry") {
    std::array<std::byte, 32> entry{};
    entry[20] = std::byte{9};
    for (const std::uint64_t epoch : {std::uint64_t{0}, std::uint64_t{255}, std::uint64_t{256}, epoch_max})
        for (const std::uint32_t bytes : {0U, 7U, 16U})
            for (const std::uint64_t offset : {std::uint64_t{8192}, std::uint64_t{1} << 40}) {
                const std::uint64_t meta = 5 + bytes + entry_meta::epoch_bits(epoch);
                const auto state = payload_crc_state(entry.data(), bytes, meta, 77);
                const auto without = pmemstream::base::crc32c_extend_u64s(state, bytes, meta, offset);
                CHECK((without ^ crc_of_epoch(epoch)) == expected_crc(entry.data(), bytes, epoch, meta, offset, 77));
            }
}

TEST_CASE("a CRC matches for every epoch with an entry's eight bits that there was, and for no other") {
    std::array<std::byte, 24> entry{};
    const std::uint32_t seed = 77;
    const auto matches = [&](std::uint64_t epoch, std::uint64_t newest) {
        const std::uint64_t meta = 5 | entry_meta::epoch_bits(epoch);
        const auto crc = expected_crc(entry.data(), 8, epoch, meta, 8192, seed);
        const auto found = matching_epoch(entry_header{8, crc, meta}, payload_crc_state(entry.data(), 8, meta, seed),
                                          8192, epochs_of(meta, 0, newest));
        return found != 0 && found == epoch;
    };
    for (const std::uint64_t epoch :
         {std::uint64_t{1}, std::uint64_t{5}, std::uint64_t{255}, std::uint64_t{256}, std::uint64_t{1000}, epoch_max}) {
        CHECK(matches(epoch, epoch));
        CHECK(matches(epoch, epoch_max));
        CHECK_FALSE(matches(epoch, epoch - 1));
    }
    CHECK_FALSE(matches(0, 1000));  // no writer has that number
    CHECK(matches(5, 4000));
}

}  // namespace
