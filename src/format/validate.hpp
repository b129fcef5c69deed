#pragma once

#include "src/format/layout.hpp"

#include <pmemstream/result.hpp>

#include <cstdint>
#include <span>
#include <string_view>

// Pure checks of the structs: no I/O, nothing followed that was not checked. `file` is for the messages only.
namespace pmemstream::format {

[[nodiscard]] std::uint32_t superblock_crc(const superblock& block) noexcept;
[[nodiscard]] std::uint32_t segment_crc(const segment_header& segment) noexcept;
/// Over extent place, chain, flags and name: what stays as it is from allocation to free.
[[nodiscard]] std::uint32_t place_crc(const slot_cold& cold) noexcept;
/// Over the generation, place_crc, first sequence and creation time.
[[nodiscard]] std::uint32_t cold_crc(const slot_cold& cold, std::uint64_t generation) noexcept;
[[nodiscard]] std::uint32_t extent_crc(const extent_header& extent) noexcept;

/// `sector`: the first 512 bytes, or what there is of them. `file_bytes`: the size of the file.
/// Errors: not_a_stream, unsupported_format, corrupt, truncated.
[[nodiscard]] result<superblock> check_superblock(std::span<const std::byte> sector, std::uint64_t file_bytes,
                                                  std::string_view file);

/// The current size of the stream, from the header, against the superblock and the file. Errors: corrupt, truncated.
[[nodiscard]] result<std::uint64_t> check_stream_bytes(std::uint64_t stream_bytes, const superblock& block,
                                                       std::uint64_t file_bytes, std::string_view file);

/// A table segment at `offset`. Errors: corrupt.
[[nodiscard]] result<void> check_segment(const segment_header& segment, std::uint64_t offset,
                                         std::uint32_t expected_index, const superblock& block,
                                         std::uint64_t stream_bytes, std::string_view file);

/// A link to the next segment: 0 for none, or its offset. Errors: corrupt.
[[nodiscard]] result<std::uint64_t> check_segment_link(std::uint64_t link, const superblock& block,
                                                       std::uint64_t stream_bytes, std::string_view file);

/// The cold part of a slot in use. While a region is being cleared only its place is certain. Errors: corrupt,
/// unsupported_format (flags).
[[nodiscard]] result<void> check_cold(const slot_cold& cold, std::uint32_t index, const superblock& block,
                                      std::uint64_t stream_bytes, std::string_view file);

/// The identifying bytes of a region's extent against its slot. Errors: corrupt.
[[nodiscard]] result<void> check_extent(const extent_header& extent, const slot_cold& cold, std::uint32_t index,
                                        const superblock& block, std::string_view file);

/// Offsets of a region: persisted <= committed, both aligned and inside. Errors: corrupt.
[[nodiscard]] result<void> check_offsets(std::uint64_t commit_offset, std::uint64_t persisted_offset,
                                         const slot_cold& cold, std::uint32_t index, std::string_view file);

[[nodiscard]] std::string_view name_of(const slot_cold& cold) noexcept;

/// An epoch as the identity line keeps it: in the low half, its CRC in the high half, so that no flipped bit makes a
/// stream look clean, or its entries those of another writer. 0 is "no writer yet".
[[nodiscard]] std::uint64_t epoch_word(std::uint64_t epoch) noexcept;
[[nodiscard]] constexpr std::uint64_t epoch_of(std::uint64_t word) noexcept {
    return word & 0xffff'ffff;
}
/// Both epochs. Errors: corrupt.
[[nodiscard]] result<void> check_epochs(const identity_line& identity, std::string_view file);

}  // namespace pmemstream::format
