#pragma once

#include "src/format/layout.hpp"

#include <cstdint>
#include <optional>

// Shared words that carry a check of their own, because they are stored one by one and no CRC covers their line: so no
// flipped bit makes a stream look clean, larger, or free of a feature that it has. The caller loads and stores them.
namespace pmemstream::format {

/// An epoch: in bits 0 to 31, its CRC32C (of a u64) in bits 32 to 63. Epoch 0, no writer yet, is the word 0.
[[nodiscard]] std::uint64_t epoch_word(std::uint64_t epoch) noexcept;
[[nodiscard]] constexpr std::uint64_t epoch_of(std::uint64_t word) noexcept {
    return word & 0xffff'ffff;
}

/// 32 feature flags, with their CRC as an epoch has it. No flag is the word 0.
[[nodiscard]] std::uint64_t feature_word(std::uint32_t flags) noexcept;
/// Nothing: the word is damaged.
[[nodiscard]] std::optional<std::uint32_t> features_of(std::uint64_t word) noexcept;

/// A size of the stream: in bits 0 to 47; in bits 48 to 63 the low 16 bits of its CRC32C (of a u64).
[[nodiscard]] std::uint64_t size_word(std::uint64_t stream_bytes) noexcept;
/// Nothing: the word is damaged.
[[nodiscard]] std::optional<std::uint64_t> stream_bytes_of(std::uint64_t word) noexcept;

/// The index of a region's first entry: in bits 0 to 51; in bits 52 to 63 the low 12 bits of its CRC32C (of a u64). The
/// word 0, which no index has: not known yet.
[[nodiscard]] std::uint64_t index_word(std::uint64_t index) noexcept;
/// Nothing: not known yet, or damaged.
[[nodiscard]] std::optional<std::uint64_t> index_of(std::uint64_t word) noexcept;

}  // namespace pmemstream::format
