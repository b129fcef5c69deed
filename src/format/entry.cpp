#include "src/format/entry.hpp"

namespace pmemstream::format {

std::uint32_t entry_crc_seed(const std::array<std::byte, 16>& uuid, std::uint64_t generation) noexcept {
    return base::crc32c_extend_u64(base::crc32c_extend(~std::uint32_t{0}, uuid.data(), uuid.size()), generation);
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
        case entry_fault::timestamp_order:
            return "timestamp out of order";
        case entry_fault::epoch_order:
            return "epoch out of order";
        case entry_fault::crc:
            return "wrong CRC";
    }
    return "unknown";
}

}  // namespace pmemstream::format
