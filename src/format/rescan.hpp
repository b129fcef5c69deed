#pragma once

#include "src/format/layout.hpp"

#include <pmemstream/types.hpp>

#include <cstdint>
#include <optional>

// How an opening writer judges what lies behind an offset that it trusts: what it shares with those who predict it.
namespace pmemstream::format {

/// How many epochs ago an entry was written, as far as its eight bits tell. 128 and more: it was not written yet. An
/// opening persists everything every so many epochs, so that nothing behind a persisted offset grows that old.
[[nodiscard]] constexpr unsigned epochs_ago(std::uint64_t epoch, std::uint8_t bits) noexcept {
    return (static_cast<unsigned>(epoch) - bits) & 0xff;
}
inline constexpr unsigned epochs_ago_max = 127;

/// The epoch that these eight bits are taken for; `newest` is the header's. Nothing: it is after that one.
[[nodiscard]] constexpr std::optional<std::uint64_t> recent_epoch(std::uint64_t newest, std::uint8_t bits) noexcept {
    const unsigned ago = epochs_ago(newest, bits);
    return ago > epochs_ago_max || ago > newest ? std::nullopt : std::optional(newest - ago);
}

/// Whether the last writer's stores were made durable by pages, as far as it says. Then the commit offsets that it left when
/// it died may be of an earlier moment, and what follows them counts: see docs/recovery.md.
[[nodiscard]] constexpr bool wrote_pages(const identity_line& identity) noexcept {
    return kept_in(identity.medium_flags, medium_granularity_mask, medium_granularity_shift) ==
           static_cast<std::uint32_t>(granularity::page);
}

/// Behind a damaged or missing entry a whole one is looked for in so many bytes, at every multiple of 8; payloads of so
/// many are read for it altogether.
inline constexpr std::uint64_t search_bytes_max = std::uint64_t{1} << 20;
inline constexpr std::uint64_t search_payload_bytes_max = std::uint64_t{16} << 20;

}  // namespace pmemstream::format
