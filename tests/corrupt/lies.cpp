#include "tests/corrupt/lies.hpp"
#include "tests/support/entry_crc.hpp"

#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "src/format/validate.hpp"
#include "tests/corrupt/stream_image.hpp"

#include <cstring>

namespace pmemstream::test {

namespace {

template <class T>
T get(std::span<const std::byte> image, std::uint64_t offset) {
    T value{};
    if (offset <= image.size() && sizeof value <= image.size() - offset)
        std::memcpy(&value, image.data() + offset, sizeof value);
    return value;
}

template <class T>
void put(std::span<std::byte> image, std::uint64_t offset, const T& value) {
    if (offset <= image.size() && sizeof value <= image.size() - offset)
        std::memcpy(image.data() + offset, &value, sizeof value);
}

template <class T>
const T& one_of(const std::vector<T>& all, std::mt19937_64& random) {
    return all[random() % all.size()];
}

void seal(format::slot_cold& cold) {
    cold.place_crc = format::place_crc(cold);
    cold.crc = format::cold_crc(cold, format::generation_of(cold.state));
}

/// An extent header as the slot would have it.
format::extent_header header_for(std::span<const std::byte> image, const format::slot_cold& cold) {
    format::extent_header extent{.magic = format::magic_extent,
                                 .uuid = get<format::superblock>(image, 0).uuid,
                                 .generation = format::generation_of(cold.state),
                                 .extent_bytes = cold.extent_bytes,
                                 .first_sequence = cold.first_sequence,
                                 .extent_offset = cold.extent_offset,
                                 .flags = 0,
                                 .crc = 0};
    extent.crc = format::extent_crc(extent);
    return extent;
}

}  // namespace

liar::liar(std::span<const std::byte> original) : bytes_(original.size()) {
    for (const auto& p : pieces_of(original)) {
        if (p.structure == "slot_cold" || p.structure == "free region_slot")
            slots_.push_back(p.begin);
        else if (p.structure == "segment_header")
            segments_.push_back(p.begin);
        else if (p.structure == "entry_header")
            entries_.push_back(p.begin);
        else if (p.structure != "extent_header")
            continue;
        interesting_.push_back(p.begin);
    }
    for (const std::uint64_t v : {bytes_, std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 63,
                                  std::uint64_t{1} << 56, std::uint64_t{1} << 52, std::uint64_t{1} << 32,
                                  std::uint64_t{0xffffffff}, std::uint64_t{64}, std::uint64_t{80}})
        interesting_.push_back(v);
}

/// Places in the file, limits, and what lies a little beside them.
std::uint64_t liar::value(std::mt19937_64& random) const {
    const std::uint64_t base = one_of(interesting_, random);
    switch (random() % 6) {
        case 0:
            return base + 64 * (random() % 16);
        case 1:
            return base - 64 * (random() % 16);
        case 2:
            return base + random() % 16 - 8;
        case 3:
            return random() >> random() % 64;
        case 4:
            return random() % bytes_ & ~std::uint64_t{63};
        default:
            return base;
    }
}

std::uint64_t liar::any_slot(std::mt19937_64& random) const {
    return slots_[random() % (random() % 4 == 0 ? slots_.size() : std::min<std::size_t>(slots_.size(), 24))];
}

void liar::lie_in_slot(std::span<std::byte> image, std::mt19937_64& random) const {
    const std::uint64_t where = any_slot(random);
    auto slot = get<format::region_slot>(image, where);
    auto& cold = slot.cold;
    const auto other = get<format::slot_cold>(image, any_slot(random));
    switch (random() % 10) {
        case 0:
            cold.extent_offset = value(random);
            break;
        case 1:
            cold.extent_bytes = value(random);
            break;
        case 2:
            cold.first_sequence = value(random);
            break;
        case 3:
            cold.state = format::state_word(value(random), format::state_of(cold.state));
            break;
        case 4:
            cold.state = value(random);
            break;
        case 5:
            cold.state = format::state_word(cold.state >> 8, format::slot_state::clearing);
            break;
        case 6:  // over another's place, or its beginning, or its end
            cold.extent_offset = other.extent_offset + 64 * (random() % 3);
            cold.extent_bytes = other.extent_bytes;
            cold.state |= static_cast<std::uint64_t>(format::slot_state::live);
            break;
        case 7:
            cold.name.fill(static_cast<char>(random()));
            break;
        case 8:  // across the end of the stream, entries and all
            cold.extent_offset = bytes_ - 64 * (1 + random() % 2);
            cold.extent_bytes = 64 * (2 + random() % 100'000);
            cold.state |= static_cast<std::uint64_t>(format::slot_state::live);
            break;
        default:
            cold.flags = static_cast<std::uint32_t>(random() % 2 << random() % 32);
            break;
    }
    seal(cold);
    if (random() % 2 == 0) {
        const std::uint64_t used = random() % 2 == 0 ? 8 * (random() % 16) : cold.extent_bytes - 64;
        slot.commit.commit_offset = slot.persist.persisted = cold.extent_offset + 64 + used;
        slot.commit.sequence = slot.persist.sequence = value(random);
    }
    put(image, where, slot);
    if (random() % 4 != 0)
        put(image, cold.extent_offset, header_for(image, cold));
}

void liar::lie_in_offsets(std::span<std::byte> image, std::mt19937_64& random) const {
    const std::uint64_t where = any_slot(random);
    auto slot = get<format::region_slot>(image, where);
    const std::uint64_t offset = random() % 2 == 0 ? value(random) : slot.cold.extent_offset + 8 * (random() % 128);
    const std::uint64_t what = random() % 4;
    if (what != 0)
        slot.commit.commit_offset = offset;
    if (what != 1)
        slot.persist.persisted = offset;
    if (what == 3)
        slot.commit.sequence = slot.persist.sequence = value(random);
    put(image, where, slot);
}

void liar::lie_in_entry(std::span<std::byte> image, std::mt19937_64& random) const {
    const std::uint64_t where = one_of(entries_, random);
    auto header = get<format::entry_header>(image, where);
    switch (random() % 5) {
        case 0:
            header.payload_bytes = static_cast<std::uint32_t>(value(random));
            break;
        case 1:
            header.payload_bytes += static_cast<std::uint32_t>(random() % 64);
            break;
        case 2:
            header.meta = value(random);
            break;
        case 3:
            header.meta ^= std::uint64_t{1} << random() % 64;
            break;
        default:
            header = {};
            break;
    }
    // Under the generation of whichever region it would be in.
    std::uint64_t generation = 0;
    for (const std::uint64_t slot : slots_) {
        const auto cold = get<format::slot_cold>(image, slot);
        if (where >= cold.extent_offset && where - cold.extent_offset < cold.extent_bytes)
            generation = format::generation_of(cold.state);
    }
    const auto seed = format::entry_crc_seed(get<format::superblock>(image, 0).uuid, generation);
    if (header.payload_bytes <= image.size() - where - sizeof header) {
        put(image, where, header);
        header.crc = test::expected_crc(image.data() + where, header.payload_bytes,
                                        format::epoch_of(get<format::shared_header>(image, 512).identity.epoch),
                                        header.meta, where, seed);
    }
    put(image, where, header);
}

void liar::lie_in_segments(std::span<std::byte> image, std::mt19937_64& random) const {
    const std::uint64_t where = one_of(segments_, random);
    auto segment = get<format::segment_header>(image, where);
    switch (random() % 6) {
        case 0:
            segment.slots = static_cast<std::uint32_t>(value(random));
            break;
        case 1:
            segment.segment_bytes = value(random);
            break;
        case 2:
            segment.index = static_cast<std::uint32_t>(random() % 4);
            break;
        case 3:
            segment.next = value(random);
            break;
        default: {  // a segment where there is none, perhaps linked to itself or back
            const std::uint64_t place = value(random) & ~std::uint64_t{63};
            format::segment_header planted{};
            planted.magic = format::magic_segment;
            planted.index = static_cast<std::uint32_t>(random() % 4);
            planted.slots = static_cast<std::uint32_t>(random() % 3 == 0 ? value(random) : 1 + random() % 16);
            planted.segment_bytes = random() % 3 == 0 ? value(random) : bytes_ - place;
            planted.next = random() % 2 == 0 ? 0 : (random() % 2 == 0 ? place : where) | format::segment_link_tag;
            planted.crc = format::segment_crc(planted);
            put(image, place, planted);
            segment.next = place | format::segment_link_tag;
            break;
        }
    }
    segment.crc = format::segment_crc(segment);
    put(image, where, segment);
}

void liar::swell_segment(std::span<std::byte> image, std::mt19937_64& random) const {
    const std::uint64_t where = one_of(segments_, random);
    auto segment = get<format::segment_header>(image, where);
    segment.slots = std::uint32_t{1} << (12 + random() % 8);
    segment.segment_bytes = random() % 2 == 0 ? segment.segment_bytes : value(random);
    put(image, where, segment);
}

void liar::lie_in_superblock(std::span<std::byte> image, std::mt19937_64& random) const {
    auto block = get<format::superblock>(image, 0);
    switch (random() % 10) {
        case 0:
            block.version = static_cast<std::uint32_t>(random() % 3);
            break;
        case 1:
            block.block_bytes = random() % 2 == 0 ? value(random) : std::uint64_t{1} << random() % 64;
            break;
        case 2:
            block.initial_stream_bytes = value(random);
            break;
        case 3:
            block.first_segment_slots = static_cast<std::uint32_t>(value(random));
            break;
        case 4:
            block.data_offset = value(random);
            break;
        case 5:
            block.slot_bytes = static_cast<std::uint32_t>(value(random));
            break;
        case 6:
            block.stream_bytes_max = value(random);
            break;
        case 7:
            block.header_offset = value(random);
            break;
        case 8:
            block.table_offset = value(random);
            break;
        default:
            block.struct_bytes = static_cast<std::uint32_t>(value(random));
            break;
    }
    block.crc = format::superblock_crc(block);
    put(image, 0, block);
}

void liar::lie_in_header(std::span<std::byte> image, std::mt19937_64& random) const {
    auto header = get<format::shared_header>(image, format::header_offset);
    switch (random() % 6) {
        case 5:
            header.features.incompatible = random() % 2 == 0 ? value(random) : format::feature_word(random() & 0xff);
            break;
        case 0:
            header.identity.epoch = format::epoch_word(value(random) & format::epoch_max);
            break;
        case 1:
            header.identity.clean_epoch = header.identity.epoch =
                format::epoch_word(random() % 2 == 0 ? random() % 300 : value(random) & format::epoch_max);
            break;
        case 2:
            header.features.stream_bytes =
                random() % 2 == 0 ? value(random) : format::size_word(value(random) & ((std::uint64_t{1} << 48) - 1));
            break;
        case 3:
            header.commit.sequence = header.persist.sequence = value(random);
            break;
        default:
            header.identity.clean_epoch = random() % 8 == 0 ? value(random) : format::epoch_word(random() % 300);
            break;
    }
    put(image, format::header_offset, header);
}

void liar::lie(std::span<std::byte> image, std::mt19937_64& random) const {
    switch (random() % 16) {
        case 0:
            return lie_in_superblock(image, random);
        case 1:
        case 2:
            return lie_in_header(image, random);
        case 3:
        case 4:
        case 5:
            return lie_in_segments(image, random);
        case 6:
        case 7:
        case 8:
            return lie_in_offsets(image, random);
        case 9:
        case 10:
        case 11:
            return lie_in_entry(image, random);
        default:
            return lie_in_slot(image, random);
    }
}

}  // namespace pmemstream::test
