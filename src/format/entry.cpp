#include "src/format/entry.hpp"

#include <pmemstream/detail/entry_layout.hpp>
#include <pmemstream/types.hpp>

#include <algorithm>
#include <cstddef>

namespace pmemstream::format {

static_assert(sizeof(entry_header) == detail::entry_header_bytes && offsetof(entry_header, payload_bytes) == 0 &&
              offsetof(entry_header, crc) == 4 && offsetof(entry_header, meta) == 8);
static_assert(entry_bytes(0) == detail::entry_bytes(0) && entry_bytes(1) == detail::entry_bytes(1) &&
              entry_bytes(payload_bytes_max) == detail::entry_bytes(payload_bytes_max));
static_assert(entry_meta::sequence_mask == detail::meta_sequence_mask &&
              entry_meta::filler_bit == detail::meta_filler_bit && entry_meta::more_bit == detail::meta_more_bit &&
              entry_meta::reserved_mask == detail::meta_reserved_mask);

std::uint32_t entry_crc_seed(const std::array<std::byte, 16>& uuid, std::uint64_t generation) noexcept {
    const std::size_t uuid_bytes = base::mutated(base::mutant::uuid_not_in_crc) ? 0 : uuid.size();
    const std::uint64_t told = base::mutated(base::mutant::generation_not_in_crc) ? 0 : generation;
    return base::crc32c_extend_u64(base::crc32c_extend(~std::uint32_t{0}, uuid.data(), uuid_bytes), told);
}

std::optional<std::uint64_t> epoch_of_crc(const std::byte* entry, std::uint32_t payload_bytes, std::uint64_t meta,
                                          std::uint32_t crc, std::uint64_t offset, std::uint32_t seed,
                                          std::uint64_t newest_epoch) noexcept {
    const std::uint64_t newest = std::min(newest_epoch, epoch_max);  // whatever a damaged header says
    const std::uint32_t state = payload_crc_state(entry, payload_bytes, meta, seed);
    // Far more often than not there were fewer than 256 writers; else the latest are tried first.
    for (std::uint64_t epoch = newest - ((newest - entry_meta::epoch(meta)) & 0xff); epoch <= newest; epoch -= 256)
        if (entry_crc(state, payload_bytes, epoch, meta, offset) == crc)
            return epoch;
    return std::nullopt;
}

const char* to_string(entry_fault fault) noexcept {
    switch (fault) {
        case entry_fault::none:
            return "whole";
        case entry_fault::never_written:
            return "never written";
        case entry_fault::reserved_bits:
            return "reserved bits set";
        case entry_fault::beyond_end:
            return "reaches beyond the end";
        case entry_fault::sequence_order:
            return "sequence out of order";
        case entry_fault::epoch_order:
            return "epoch out of order";
        case entry_fault::crc:
            return "wrong CRC";
    }
    return "unknown";
}

}  // namespace pmemstream::format
