#include "src/format/entry.hpp"

#include <pmemstream/detail/entry_layout.hpp>
#include <pmemstream/types.hpp>

#include <cstddef>

namespace pmemstream::format {

static_assert(sizeof(entry_header) == detail::entry_header_bytes && offsetof(entry_header, payload_bytes) == 0 &&
              offsetof(entry_header, crc) == 4 && offsetof(entry_header, meta) == 8);
static_assert(entry_bytes(0) == detail::entry_bytes(0) && entry_bytes(1) == detail::entry_bytes(1) &&
              entry_bytes(payload_bytes_max) == detail::entry_bytes(payload_bytes_max));
static_assert(entry_meta::sequence_mask == detail::meta_sequence_mask &&
              entry_meta::system_bit == detail::meta_filler_bit && entry_meta::more_bit == detail::meta_more_bit &&
              entry_meta::reserved_mask == detail::meta_reserved_mask);

std::uint32_t entry_crc_seed(const std::array<std::byte, 16>& uuid, std::uint64_t generation) noexcept {
    const std::size_t uuid_bytes = base::mutated(base::mutant::uuid_not_in_crc) ? 0 : uuid.size();
    const std::uint64_t told = base::mutated(base::mutant::generation_not_in_crc) ? 0 : generation;
    return base::crc32c_extend_u64(base::crc32c_extend(~std::uint32_t{0}, uuid.data(), uuid_bytes), told);
}

std::uint64_t matching_epoch(const entry_header& header, std::uint32_t payload_state, std::uint64_t offset,
                             epoch_range epochs) noexcept {
    // Far more often than not there were fewer than 256 writers; else the latest are tried first.
    for (std::uint64_t tries = epochs.size(), epoch = epochs.first + (tries - 1) * 256; tries > 0;
         --tries, epoch -= 256)
        if (epoch != 0 && entry_crc(payload_state, header.payload_bytes, epoch, header.meta, offset) == header.crc)
            return epoch;
    return 0;
}

const char* to_string(entry_fault fault) noexcept {
    switch (fault) {
        case entry_fault::none:
            return "whole";
        case entry_fault::never_written:
            return "never written";
        case entry_fault::unsupported:
            return "of a later version of the format";
        case entry_fault::reserved_bits:
            return "reserved bits set";
        case entry_fault::beyond_end:
            return "reaches beyond the end";
        case entry_fault::sequence_order:
            return "sequence out of order";
        case entry_fault::system_in_batch:
            return "a system entry inside a batch";
        case entry_fault::epoch_order:
            return "epoch out of order";
        case entry_fault::crc:
            return "wrong CRC";
    }
    return "unknown";
}

}  // namespace pmemstream::format
