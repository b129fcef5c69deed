#pragma once

#include <cstdint>

namespace pmemstream::tools {

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
