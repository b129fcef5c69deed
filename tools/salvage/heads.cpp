#include "tools/salvage/heads.hpp"

#include "src/format/entry.hpp"

#include <vector>

namespace pmemstream::tools {

namespace {

std::optional<format::region_head> head_of(const media& from, const survey& seen, const found_region& region) {
    const std::uint64_t offset = region.begin();
    const auto header = from.at<format::entry_header>(offset);
    if (!format::entry_meta::is_system(header.meta) ||
        format::entry_meta::type(header.meta) != format::system_type::head ||
        header.payload_bytes > sizeof(format::head_payload) + format::head_text_bytes_max)
        return std::nullopt;
    std::vector<std::byte> payload(header.payload_bytes);
    from.read(offset + sizeof header, payload);
    const auto checked = format::check_entry(
        header,
        {.offset = offset,
         .room = region.extent_end() - offset,
         .previous_sequence = 0,
         .crc_seed = format::entry_crc_seed(seen.uuid, region.generation)},
        [&](std::uint64_t meta) { return format::epochs_of(meta, 0, seen.epoch.value_or(format::epoch_max)); },
        [&](const format::entry_header&, std::uint32_t seed) {
            return base::crc32c_extend(seed, payload.data(), payload.size());
        });
    return checked.fault == format::entry_fault::none ? format::decode_head(payload) : std::nullopt;
}

}  // namespace

void read_heads(const media& from, survey& seen) {
    for (auto& region : seen.regions) {
        if (region.emptied || region.unknown_flags != 0)
            continue;
        region.head = head_of(from, seen, region);
        if (region.head && !region.name)
            region.name = region.head->name;
    }
}

}  // namespace pmemstream::tools
