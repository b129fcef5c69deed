#include "src/stream/marks.hpp"

#include "src/base/mapped.hpp"

namespace pmemstream::core {

std::optional<format::mark_payload> mark_at(const stream_file& file, const format::slot_cold& cold,
                                            std::uint64_t offset, std::uint64_t end) noexcept {
    const std::uint64_t begin = cold.extent_offset + sizeof(format::extent_header);
    if (offset < begin || offset > end || end - offset < format::mark_entry_bytes || !base::is_aligned(offset, 8))
        return std::nullopt;
    const auto& mapped = file.at<format::entry_header>(offset);
    const format::entry_header header{base::load_relaxed(mapped.payload_bytes), base::load_relaxed(mapped.crc),
                                      base::load_relaxed(mapped.meta)};
    if (!format::entry_meta::is_system(header.meta) ||
        format::entry_meta::type(header.meta) != format::system_type::mark ||
        header.payload_bytes != sizeof(format::mark_payload))
        return std::nullopt;
    // The payload has all of the epoch, so only that one is tried.
    const std::byte* const payload = file.bytes_at(offset + sizeof header);
    const auto mark = format::decode_mark({payload, sizeof(format::mark_payload)});
    if (!mark || mark->epoch > file.newest_possible_epoch())
        return std::nullopt;
    const auto checked = format::check_entry(
        header,
        {.offset = offset,
         .room = end - offset,
         .previous_sequence = 0,
         .crc_seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(cold.state))},
        [&](std::uint64_t meta) {
            const bool fits = format::entry_meta::epoch(meta) == (mark->epoch & 0xff);
            return fits ? format::epoch_range{mark->epoch, mark->epoch} : format::epoch_range{};
        },
        [&](const format::entry_header& whole, std::uint32_t seed) {
            return format::payload_crc_state(payload - sizeof whole, whole.payload_bytes, whole.meta, seed);
        });
    return checked.fault == format::entry_fault::none ? mark : std::nullopt;
}

}  // namespace pmemstream::core
