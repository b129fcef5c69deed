#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

// How far an opening writer believes what lies behind an offset that it trusts. Pure: looks at bytes, stores nothing.
namespace pmemstream::core {

/// So often an opening persists everything, clean or not: see format::epochs_ago().
inline constexpr std::uint64_t persist_every_epochs = 64;

/// The part of a region that is looked at.
struct scan_input {
    std::span<const std::byte> bytes;  ///< from the offset that is trusted to the end of the region
    std::uint64_t offset = 0;          ///< of bytes[0] in the file
    std::uint64_t previous_sequence = 0;
    std::uint32_t crc_seed = 0;
    std::uint64_t epoch = 0;         ///< the header's: no entry is younger
    std::uint64_t oldest_epoch = 0;  ///< of who stored that offset: no entry behind it is older
};
struct scan_result {
    std::uint64_t end = 0;       ///< offset behind the last whole entry that ends no batch in the middle
    std::uint64_t sequence = 0;  ///< of that entry, or the previous one
    std::uint64_t entries = 0;
    bool cut = false;                               ///< something is written behind `end`
    bool whole_entry_behind = false;                ///< and among it is an entry that verifies
    std::uint64_t mark_offset = 0;                  ///< of the last mark before `end`, or 0
    std::optional<std::uint64_t> unsupported = {};  ///< a whole entry there has bits of a later version of the format
};
/// Walks while headers and payloads fit, CRCs match, sequences increase and epochs neither fall nor exceed the
/// header's. Then looks a little further, so as to tell the operator what is lost.
[[nodiscard]] scan_result scan(const scan_input& input) noexcept;

/// The sequence of the whole entry that begins at bytes[0], if one does; a system entry's is 0.
[[nodiscard]] std::optional<std::uint64_t> whole_entry_sequence(const scan_input& input) noexcept;

}  // namespace pmemstream::core
