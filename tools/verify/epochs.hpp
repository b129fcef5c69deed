#pragma once

#include <cstdint>
#include <optional>

namespace pmemstream::tools {

/// What is older than so many writers an opening takes for what was not written yet: eight bits tell no more.
inline constexpr unsigned epochs_ago_max = 127;

/// The epoch that an opening writer takes these eight bits for; `newest` is the header's. Nothing: it is after that one.
[[nodiscard]] constexpr std::optional<std::uint64_t> recent_epoch(std::uint64_t newest, std::uint8_t bits) noexcept {
    const unsigned ago = (static_cast<unsigned>(newest) - bits) & 0xff;
    return ago > epochs_ago_max || ago > newest ? std::nullopt : std::optional(newest - ago);
}

/// Epochs that have the same eight bits.
struct epoch_range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;

    [[nodiscard]] constexpr bool empty() const noexcept { return first > last; }
    [[nodiscard]] constexpr std::uint64_t size() const noexcept { return empty() ? 0 : (last - first) / 256 + 1; }
};

/// Those with these bits from `least` up to `most`.
[[nodiscard]] constexpr epoch_range epochs_with(std::uint8_t bits, std::uint64_t least, std::uint64_t most) noexcept {
    return {least + ((bits - least) & 0xff), most};
}

}  // namespace pmemstream::tools
