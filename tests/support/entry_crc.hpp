#pragma once

#include "src/format/entry.hpp"

#include <cstddef>
#include <cstdint>

namespace pmemstream::test {

/// The CRC that the entry at `entry` (in the file at `offset`), of a writer of that epoch, should carry.
[[nodiscard]] inline std::uint32_t expected_crc(const std::byte* entry, std::uint32_t payload_bytes,
                                                std::uint64_t epoch, std::uint64_t meta, std::uint64_t offset,
                                                std::uint32_t seed) noexcept {
    return format::entry_crc(format::payload_crc_state(entry, payload_bytes, meta, seed), payload_bytes, epoch, meta,
                             offset);
}

}  // namespace pmemstream::test
