#pragma once

#include <cstdint>

// What the inlined parts of an append and of a cursor's step know of an entry's layout: format::entry_header and
// format::entry_meta, which src/format/entry.cpp asserts. Not for users.
namespace pmemstream::detail {

inline constexpr std::uint64_t entry_header_bytes = 16;  ///< payload's size and CRC, 32 bits each, and the meta word

[[nodiscard]] constexpr std::uint64_t entry_bytes(std::uint64_t payload_bytes) noexcept {
    return entry_header_bytes + ((payload_bytes + 7) & ~std::uint64_t{7});
}

inline constexpr std::uint64_t meta_sequence_mask = (std::uint64_t{1} << 52) - 1;
inline constexpr std::uint64_t meta_filler_bit = std::uint64_t{1} << 60;
inline constexpr std::uint64_t meta_more_bit = std::uint64_t{1} << 61;
inline constexpr std::uint64_t meta_reserved_mask = std::uint64_t{3} << 62;

}  // namespace pmemstream::detail
