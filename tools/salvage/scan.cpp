#include "tools/salvage/scan.hpp"

#include "src/base/checked.hpp"
#include "src/format/validate.hpp"

#include <algorithm>
#include <bit>

namespace pmemstream::tools {

namespace {

constexpr std::uint64_t chunk_bytes = 1 << 20;

bool is_extent(const format::extent_header& extent, std::uint64_t offset) {
    return extent.magic == format::magic_extent && extent.extent_offset == offset &&
           extent.crc == format::extent_crc(extent) &&
           extent.extent_bytes >= sizeof(format::extent_header) + sizeof(format::entry_header) &&
           extent.extent_bytes <= format::stream_bytes_max && extent.generation <= format::generation_max &&
           base::is_aligned(extent.extent_bytes, format::block_bytes_min);
}

bool is_segment(const format::segment_header& segment) {
    return segment.magic == format::magic_segment && segment.crc == format::segment_crc(segment) && segment.index > 0 &&
           segment.slots <= format::region_slots_max &&
           sizeof segment + std::uint64_t{segment.slots} * sizeof(format::region_slot) <= segment.segment_bytes &&
           segment.segment_bytes <= format::stream_bytes_max;
}

/// The headers of one stream: the file may hold remains of an earlier one.
void keep_most_common_uuid(std::vector<format::extent_header>& extents) {
    std::map<std::array<std::byte, 16>, std::size_t> votes;
    for (const auto& extent : extents)
        ++votes[extent.uuid];
    const auto most = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
    if (most != votes.end())
        std::erase_if(extents, [&](const auto& extent) { return extent.uuid != most->first; });
}

}  // namespace

scan_result scan_blocks(const media& from, std::uint64_t step, const std::optional<std::array<std::byte, 16>>& uuid) {
    scan_result found;
    window bytes(from, chunk_bytes);
    const std::uint64_t begin = base::round_up(format::first_slots_offset, step);
    for (std::uint64_t at = begin; at < from.bytes() && from.bytes() - at >= sizeof(format::extent_header);
         at += step) {
        const auto magic = bytes.at<std::uint64_t>(at);
        if (magic == format::magic_extent) {
            const auto extent = bytes.at<format::extent_header>(at);
            if (is_extent(extent, at) && (!uuid || extent.uuid == *uuid))
                found.extents.push_back(extent);
        } else if (magic == format::magic_segment && from.bytes() - at >= sizeof(format::segment_header)) {
            const auto segment = bytes.at<format::segment_header>(at);
            if (is_segment(segment))
                found.segments.emplace(at, segment);
        }
    }
    if (!uuid)
        keep_most_common_uuid(found.extents);
    std::uint64_t all = 0;
    for (const auto& extent : found.extents)
        all |= extent.extent_offset | extent.extent_bytes;
    found.lowest_extent = found.extents.empty() ? 0 : found.extents.front().extent_offset;
    found.block_bytes = all == 0 ? step
                                 : std::clamp<std::uint64_t>(std::uint64_t{1} << std::countr_zero(all),
                                                             format::block_bytes_min, format::block_bytes_max);
    return found;
}

}  // namespace pmemstream::tools
