#pragma once

#include "src/format/layout.hpp"
#include "src/format/words.hpp"

#include <pmemstream/result.hpp>

#include <cstdint>
#include <span>
#include <string_view>

// Pure checks of the structs: no I/O, nothing followed that was not checked. `file` is for the messages only.
namespace pmemstream::format {

[[nodiscard]] std::uint32_t superblock_crc(const superblock& block) noexcept;
[[nodiscard]] std::uint32_t segment_crc(const segment_header& segment) noexcept;
/// Over the extent's place, the place in the chain, flags and name: what stays as it is from allocation to free.
[[nodiscard]] std::uint32_t place_crc(const slot_cold& cold) noexcept;
/// Over the generation, place_crc, first sequence, creation time and log.
[[nodiscard]] std::uint32_t cold_crc(const slot_cold& cold, std::uint64_t generation) noexcept;
[[nodiscard]] std::uint32_t extent_crc(const extent_header& extent) noexcept;

/// `sector`: the first 512 bytes, or what there is of them. `file_bytes`: the size of the file.
/// Errors: not_a_stream, unsupported_format, corrupt, truncated.
[[nodiscard]] result<superblock> check_superblock(std::span<const std::byte> sector, std::uint64_t file_bytes,
                                                  std::string_view file);

/// The current size of the stream: the header's size word, against the superblock and the file. Errors: corrupt,
/// truncated.
[[nodiscard]] result<std::uint64_t> check_stream_bytes(std::uint64_t size_word, const superblock& block,
                                                       std::uint64_t file_bytes, std::string_view file);

/// A table segment at `offset`. Errors: corrupt.
[[nodiscard]] result<void> check_segment(const segment_header& segment, std::uint64_t offset,
                                         std::uint32_t expected_index, const superblock& block,
                                         std::uint64_t stream_bytes, std::string_view file);

/// A link to the next segment: 0 for none, or its offset. Errors: corrupt.
[[nodiscard]] result<std::uint64_t> check_segment_link(std::uint64_t link, const superblock& block,
                                                       std::uint64_t stream_bytes, std::string_view file);

/// The cold part of a slot in use, but for its flags. While a region is being cleared only its place is certain. Errors:
/// corrupt.
[[nodiscard]] result<void> check_cold(const slot_cold& cold, std::uint32_t index, const superblock& block,
                                      std::uint64_t stream_bytes, std::string_view file);

/// The flags of a checked slot that a program must know, to read the region or to open the stream for writing, and that this
/// one does not.
[[nodiscard]] inline std::uint32_t unknown_slot_flags(const slot_cold& cold) noexcept {
    return cold.flags & slot_flags_required & ~known_slot_flags;
}
/// The same as an error: unsupported_format.
[[nodiscard]] result<void> check_slot_flags(const slot_cold& cold, std::uint32_t index, std::string_view file);

/// The identifying bytes of a region's extent against its slot. Errors: corrupt.
[[nodiscard]] result<void> check_extent(const extent_header& extent, const slot_cold& cold, std::uint32_t index,
                                        const superblock& block, std::string_view file);

/// Offsets of a region: persisted <= committed, both aligned and inside, behind its head. Errors: corrupt.
[[nodiscard]] result<void> check_offsets(std::uint64_t commit_offset, std::uint64_t persisted_offset,
                                         const slot_cold& cold, std::uint64_t head_bytes, std::uint32_t index,
                                         std::string_view file);

[[nodiscard]] std::string_view name_of(const slot_cold& cold) noexcept;

/// Both epochs. Errors: corrupt.
[[nodiscard]] result<void> check_epochs(const identity_line& identity, std::string_view file);

}  // namespace pmemstream::format
