#pragma once

#include <cstddef>
#include <cstdint>

// A step of the CRC that every entry carries, where an append is inlined into its caller.
namespace pmemstream::detail {

#if defined(__x86_64__)
/// Extends a CRC32C register by eight bytes (SSE4.2). Inline assembler, because code is compiled for baseline x86-64: a
/// function with a target attribute could not be inlined. The register stays in 64 bits, as the instruction leaves it,
/// or each step would pay for widening it again.
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32_step(std::uint64_t state, std::uint64_t word) noexcept {
    __asm__("crc32q %1, %0" : "+r"(state) : "r"(word));
    return state;
}

/// The same by 1, 2, 4 or 8 bytes in memory, which the instruction reads itself.
template <std::size_t Bytes>
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32_step_at(std::uint64_t state,
                                                                     const std::byte* from) noexcept {
    const auto& word = *reinterpret_cast<const std::byte(*)[Bytes]>(from);
    if constexpr (Bytes == 8) {
        __asm__("crc32q %1, %0" : "+r"(state) : "m"(word));
        return state;
    } else {
        auto narrow = static_cast<std::uint32_t>(state);
        if constexpr (Bytes == 4)
            __asm__("crc32l %1, %0" : "+r"(narrow) : "m"(word));
        else if constexpr (Bytes == 2)
            __asm__("crc32w %1, %0" : "+r"(narrow) : "m"(word));
        else
            __asm__("crc32b %1, %0" : "+r"(narrow) : "m"(word));
        return narrow;
    }
}

/// Extends by the first `bytes` (0..7) bytes of `word`, whose other bytes must be zero. The instruction takes all eight
/// bytes as message; shifted to the end of the word, the few have only zeros before them, which do not count from state
/// zero. The part of the register that the message is too short to reach moves on by itself.
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32_step_partial(std::uint64_t state, std::uint64_t word,
                                                                          std::size_t bytes) noexcept {
    const auto used = 8 * bytes;
    // Two shifts, as one by 64 (no bytes at all) is undefined; a branch instead would be mispredicted.
    const auto message = ((state ^ word) << (56 - used)) << 8;
    return crc32_step(0, message) ^ (state >> used);
}
#endif

}  // namespace pmemstream::detail
