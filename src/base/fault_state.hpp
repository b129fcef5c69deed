#pragma once

#include <cstdint>

// Why a mapping is not to be used as usual, in one word, so that a hot path asks once. Bits are only ever set, some of
// them by a signal handler or in a forked child.
namespace pmemstream::base::fault_state {

inline constexpr std::uint32_t faulted = 1;   ///< the fault guard had to replace part of the mapping
inline constexpr std::uint32_t in_child = 2;  ///< this is a forked child of the process that owns the writer
inline constexpr std::uint32_t closed = 4;    ///< the writer was closed

inline void set(std::uint32_t& word, std::uint32_t bit) noexcept {
    __atomic_fetch_or(&word, bit, __ATOMIC_RELEASE);
}
[[nodiscard]] inline std::uint32_t load(const std::uint32_t& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_RELAXED);
}

}  // namespace pmemstream::base::fault_state
