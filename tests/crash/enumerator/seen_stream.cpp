#include "tests/crash/enumerator/seen_stream.hpp"

#include "src/format/layout.hpp"
#include "tests/support/require.hpp"

#include <cstddef>

namespace pmemstream::test {

namespace {

template <class T>
T read(std::span<const std::byte> file, std::uint64_t offset) {
    require(offset <= file.size() && sizeof(T) <= file.size() - offset, "offset {} lies outside the file", offset);
    T value;
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

constexpr std::uint64_t sequence_bits = (std::uint64_t{1} << 52) - 1;

}  // namespace

std::uint64_t seen_entry::sequence() const {
    return meta & sequence_bits;
}
bool seen_entry::is_filler() const {
    return (meta >> 60 & 1) != 0;
}
bool seen_entry::goes_on() const {
    return (meta >> 61 & 1) != 0;
}

std::vector<std::uint64_t> slot_offsets(std::span<const std::byte> file) {
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t at = format::first_segment_offset; at != 0;) {
        const auto segment = read<format::segment_header>(file, at);
        require(segment.slots <= 4096, "a segment of {} slots", segment.slots);
        for (std::uint32_t i = 0; i < segment.slots; ++i)
            offsets.push_back(at + sizeof segment + i * sizeof(format::region_slot));
        at = segment.next & ~format::segment_link_mask;
    }
    return offsets;
}

std::vector<seen_entry> see_entries(std::span<const std::byte> file, std::uint64_t begin, std::uint64_t end) {
    std::vector<seen_entry> entries;
    while (begin < end) {
        const auto header = read<format::entry_header>(file, begin);
        seen_entry one{.offset = begin, .payload_bytes = header.payload_bytes, .meta = header.meta, .bytes = {}};
        const std::uint64_t bytes = sizeof header + std::uint64_t{header.payload_bytes};
        require(bytes <= end - begin, "the entry at offset {} reaches beyond {}", begin, end);
        one.bytes = file.subspan(begin, one.is_filler() ? sizeof header : bytes);
        entries.push_back(one);
        begin += (bytes + 7) / 8 * 8;
    }
    require(begin == end, "entries end at {}, not at {}", begin, end);
    return entries;
}

seen_stream see(std::span<const std::byte> file) {
    seen_stream seen;
    const auto header = read<format::shared_header>(file, format::header_offset);
    seen.epoch = header.identity.epoch & 0xffffffff;
    seen.committed_sequence = header.commit.sequence;
    seen.in_pages = (header.identity.medium_flags >> 2 & 3) == 3;
    for (const auto offset : slot_offsets(file)) {
        const auto slot = read<format::region_slot>(file, offset);
        const std::uint64_t kind = slot.cold.state & 0xff;
        require(kind == 0 || kind == 0x35, "the slot at offset {} is in state {:#x}", offset, kind);
        if (kind == 0)
            continue;
        seen_region region{.slot = offset,
                           .generation = slot.cold.state >> 8,
                           .name = slot.cold.name.data(),
                           .begin = slot.cold.extent_offset + sizeof(format::extent_header),
                           .committed = slot.commit.commit_offset,
                           .persisted = slot.persist.persisted & ((std::uint64_t{1} << 56) - 1),
                           .end = slot.cold.extent_offset + slot.cold.extent_bytes,
                           .committed_sequence = slot.commit.sequence,
                           .entries = {}};
        require(region.begin <= region.persisted && region.persisted <= region.committed &&
                    region.committed <= region.end && region.end <= file.size(),
                "region {}: begins at {}, persisted {}, committed {}, ends at {}", region.name, region.begin,
                region.persisted, region.committed, region.end);
        // Before the users' entries lies the region's head, which nothing may have changed.
        const auto head = read<format::entry_header>(file, region.begin);
        require((head.meta >> 44 & 0x100ff) == 0x10001, "region {} does not begin with a head", region.name);
        region.begin += (sizeof head + std::uint64_t{head.payload_bytes} + 7) / 8 * 8;
        require(region.begin <= region.persisted, "region {}: a persisted offset of {}, inside its head", region.name,
                region.persisted);
        region.entries = see_entries(file, region.begin, region.committed);
        seen.regions.push_back(std::move(region));
    }
    return seen;
}

}  // namespace pmemstream::test
