#include "src/format/validate.hpp"

#include "src/base/checked.hpp"
#include "src/base/crc32c.hpp"
#include "src/base/failure.hpp"
#include "src/base/mutant.hpp"

#include <algorithm>
#include <cstring>

namespace pmemstream::format {

using base::failure;
using base::is_aligned;

std::uint32_t superblock_crc(const superblock& block) noexcept {
    return base::crc32c(&block, offsetof(superblock, crc));
}

std::uint32_t segment_crc(const segment_header& segment) noexcept {
    return base::crc32c(&segment, offsetof(segment_header, crc));
}

std::uint32_t place_crc(const slot_cold& cold) noexcept {
    std::uint32_t state = ~std::uint32_t{0};
    state = base::crc32c_extend_u64(state, cold.extent_offset);
    state = base::crc32c_extend_u64(state, cold.extent_bytes);
    state = base::crc32c_extend_u64(state, std::uint64_t{cold.flags} << 32 | cold.place);
    return ~base::crc32c_extend(state, cold.name.data(), cold.name.size());
}

std::uint32_t cold_crc(const slot_cold& cold, std::uint64_t generation) noexcept {
    std::uint32_t state = ~std::uint32_t{0};
    state = base::crc32c_extend_u64(state, generation);
    state = base::crc32c_extend_u64(state, cold.place_crc);
    state = base::crc32c_extend_u64(state, cold.first_sequence);
    state = base::crc32c_extend_u64(state, cold.creation_ns);
    return ~base::crc32c_extend_u64(state, cold.log_id);
}

std::uint32_t extent_crc(const extent_header& extent) noexcept {
    return base::crc32c(&extent, offsetof(extent_header, crc));
}

result<superblock> check_superblock(std::span<const std::byte> sector, std::uint64_t file_bytes,
                                    std::string_view file) {
    if (file_bytes == 0)
        return failure(errc::not_a_stream, "{}: the file is empty, not a stream", file);
    superblock block{};
    if (sector.size() >= sizeof block.magic)
        std::memcpy(&block.magic, sector.data(), sizeof block.magic);
    // [P2] No magic, no stream: whatever else is there was not finished. Pairs with [P1] in create.cpp.
    if (block.magic != magic_stream && !base::mutated(base::mutant::magic_ignored)) {
        const bool zero = std::all_of(sector.begin(), sector.end(), [](std::byte b) { return b == std::byte{0}; });
        if (zero)
            return failure(errc::not_a_stream, "{}: not a stream: the first sector is all zero (no creation finished)",
                           file);
        return failure(errc::not_a_stream, "{}: not a stream: no magic at offset 0", file);
    }
    if (sector.size() < sector_bytes)
        return failure(errc::truncated, "{}: only {} bytes are left of the stream", file, file_bytes);
    std::memcpy(&block, sector.data(), sizeof block);
    // A later version may keep its CRC elsewhere: so a version that is not ours is named before a CRC that is not
    // right, unless the CRC of this version tells that the version itself is damaged.
    const bool crc_fits = block.crc == superblock_crc(block);
    if (block.version != version && (crc_fits || block.struct_bytes != sizeof block))
        return failure(errc::unsupported_format, "{}: format version {}, this library knows {}", file, block.version,
                       version);
    if (!crc_fits)
        return failure(errc::corrupt, "{}: damaged superblock (offset 0): CRC {:08x}, computed {:08x}", file, block.crc,
                       superblock_crc(block));
    const bool sane =
        block.struct_bytes == sizeof block && block.slot_bytes == sizeof(region_slot) &&
        block.block_bytes >= block_bytes_min && block.block_bytes <= block_bytes_max &&
        (block.block_bytes & (block.block_bytes - 1)) == 0 && block.stream_bytes_max <= stream_bytes_max &&
        block.initial_stream_bytes <= block.stream_bytes_max && block.header_offset == header_offset &&
        block.table_offset == first_segment_offset && block.first_segment_slots > 0 &&
        block.first_segment_slots <= region_slots_max &&
        block.data_offset >= first_slots_offset + std::uint64_t{block.first_segment_slots} * sizeof(region_slot) &&
        is_aligned(block.data_offset, block.block_bytes) && block.data_offset <= block.initial_stream_bytes;
    if (!sane)
        return failure(errc::corrupt, "{}: the superblock (offset 0) contradicts itself", file);
    if (file_bytes < block.initial_stream_bytes)
        return failure(errc::truncated, "{}: truncated: {} bytes are left of a stream of {}", file, file_bytes,
                       block.initial_stream_bytes);
    return block;
}

result<std::uint64_t> check_stream_bytes(std::uint64_t size_word, const superblock& block, std::uint64_t file_bytes,
                                         std::string_view file) {
    constexpr std::uint64_t where =
        header_offset + offsetof(shared_header, features) + offsetof(feature_line, stream_bytes);
    const auto stream_bytes = stream_bytes_of(size_word);
    if (!stream_bytes || *stream_bytes < block.initial_stream_bytes || *stream_bytes > block.stream_bytes_max ||
        !is_aligned(*stream_bytes, block.block_bytes))
        return failure(errc::corrupt, "{}: the header (offset {}) gives an impossible size of the stream: {:#x}", file,
                       where, size_word);
    if (file_bytes < *stream_bytes)
        return failure(errc::truncated, "{}: truncated: {} bytes are left of a stream of {}", file, file_bytes,
                       *stream_bytes);
    return *stream_bytes;
}

result<void> check_segment(const segment_header& segment, std::uint64_t offset, std::uint32_t expected_index,
                           const superblock& block, std::uint64_t stream_bytes, std::string_view file) {
    if (segment.magic != magic_segment || segment.crc != segment_crc(segment))
        return failure(errc::corrupt, "{}: damaged header of table segment {} at offset {}", file, expected_index,
                       offset);
    const bool first = offset == first_segment_offset;
    const std::uint64_t room = first ? block.data_offset - first_segment_offset : stream_bytes - offset;
    if (segment.index != expected_index || segment.slots == 0 || segment.slots > region_slots_max ||
        segment.segment_bytes > room ||
        (first ? segment.slots != block.first_segment_slots : !is_aligned(segment.segment_bytes, block.block_bytes)) ||
        sizeof(segment_header) + std::uint64_t{segment.slots} * sizeof(region_slot) > segment.segment_bytes)
        return failure(errc::corrupt, "{}: table segment {} at offset {} contradicts itself", file, expected_index,
                       offset);
    return {};
}

result<std::uint64_t> check_segment_link(std::uint64_t link, const superblock& block, std::uint64_t stream_bytes,
                                         std::string_view file) {
    if (link == 0)
        return std::uint64_t{0};
    const std::uint64_t offset = link & ~segment_link_mask;
    if ((link & segment_link_mask) != segment_link_tag || offset < block.data_offset || offset >= stream_bytes ||
        !is_aligned(offset, block.block_bytes) || stream_bytes - offset < sizeof(segment_header))
        return failure(errc::corrupt, "{}: the link {:#x} to the next table segment leads nowhere", file, link);
    return offset;
}

result<void> check_cold(const slot_cold& cold, std::uint32_t index, const superblock& block, std::uint64_t stream_bytes,
                        std::string_view file) {
    const slot_state state = state_of(cold.state);
    if (state != slot_state::live && state != slot_state::clearing)
        return failure(errc::corrupt, "{}: region slot {} has the unknown state {:#x}", file, index,
                       static_cast<unsigned>(state));
    if (cold.place_crc != place_crc(cold) ||
        (state == slot_state::live && cold.crc != cold_crc(cold, generation_of(cold.state))))
        return failure(errc::corrupt, "{}: region slot {} is damaged: wrong CRC", file, index);
    if (cold.extent_offset < block.data_offset || cold.extent_offset >= stream_bytes ||
        cold.extent_bytes > stream_bytes - cold.extent_offset ||
        cold.extent_bytes < sizeof(extent_header) + sizeof(entry_header) ||
        !is_aligned(cold.extent_offset, block.block_bytes) || !is_aligned(cold.extent_bytes, block.block_bytes) ||
        cold.name.back() != 0)
        return failure(errc::corrupt, "{}: region slot {} gives an impossible extent: {} bytes at offset {}", file,
                       index, cold.extent_bytes, cold.extent_offset);
    // A log has the generation of its first region.
    const std::uint64_t generation = generation_of(cold.state);
    if (state == slot_state::live &&
        (cold.log_id == 0 || cold.log_id > generation || (cold.place == 0) != (cold.log_id == generation)))
        return failure(errc::corrupt, "{}: region slot {} of generation {} says that it is place {} of log {}", file,
                       index, generation, cold.place, cold.log_id);
    return {};
}

result<void> check_slot_flags(const slot_cold& cold, std::uint32_t index, std::string_view file) {
    if (const std::uint32_t unknown = unknown_slot_flags(cold); unknown != 0)
        return failure(errc::unsupported_format,
                       "{}: region slot {} has flags that this library would have to know: {:#x}", file, index,
                       unknown);
    return {};
}

result<void> check_extent(const extent_header& extent, const slot_cold& cold, std::uint32_t index,
                          const superblock& block, std::string_view file) {
    if (extent.magic != magic_extent || extent.crc != extent_crc(extent) || extent.uuid != block.uuid ||
        extent.generation != generation_of(cold.state) || extent.extent_bytes != cold.extent_bytes ||
        extent.extent_offset != cold.extent_offset || extent.first_sequence != cold.first_sequence ||
        extent.flags != cold.flags)
        return failure(errc::corrupt, "{}: the extent header of region slot {} at offset {} is damaged", file, index,
                       cold.extent_offset);
    return {};
}

result<void> check_offsets(std::uint64_t commit_offset, std::uint64_t persisted_offset, const slot_cold& cold,
                           std::uint64_t head_bytes, std::uint32_t index, std::string_view file) {
    const std::uint64_t begin = cold.extent_offset + sizeof(extent_header) + head_bytes;
    const std::uint64_t end = cold.extent_offset + cold.extent_bytes;
    const auto inside = [&](std::uint64_t value) { return value >= begin && value <= end && is_aligned(value, 8); };
    if (!inside(commit_offset) || !inside(persisted_offset) || persisted_offset > commit_offset)
        return failure(errc::corrupt,
                       "{}: region slot {} gives impossible offsets: committed {}, persisted {}, its entries lie "
                       "between {} and {}",
                       file, index, commit_offset, persisted_offset, begin, end);
    return {};
}

result<void> check_epochs(const identity_line& identity, std::string_view file) {
    const auto check = [&](std::uint64_t word, const char* name, std::size_t at) -> result<void> {
        if (word == epoch_word(epoch_of(word)) && epoch_of(word) <= epoch_max)
            return {};
        return failure(errc::corrupt, "{}: the header's {} at offset {} is damaged", file, name, header_offset + at);
    };
    if (auto fine = check(identity.epoch, "epoch", offsetof(identity_line, epoch)); !fine)
        return fine;
    if (auto fine = check(identity.clean_epoch, "clean epoch", offsetof(identity_line, clean_epoch)); !fine)
        return fine;
    if (epoch_of(identity.clean_epoch) > epoch_of(identity.epoch))
        return failure(errc::corrupt,
                       "{}: the header at offset {} says that writer {} closed the stream, and {} is the last", file,
                       header_offset, epoch_of(identity.clean_epoch), epoch_of(identity.epoch));
    return {};
}

std::string_view name_of(const slot_cold& cold) noexcept {
    return {cold.name.data(), ::strnlen(cold.name.data(), cold.name.size())};
}

}  // namespace pmemstream::format
