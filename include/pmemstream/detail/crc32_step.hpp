#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// The CRC that every entry carries, where an append or a cursor's step is inlined into its caller.
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

/// x^n modulo the polynomial of CRC32C, reflected: bit 31 - i is the coefficient of x^i.
[[nodiscard]] constexpr std::uint32_t crc32_power_of_x(unsigned n) noexcept {
    std::uint32_t value = std::uint32_t{1} << 31;
    for (; n > 0; --n)
        value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78 : 0);
    return value;
}

/// For 0, 8, 16, … 136 bytes: x^(8 * bytes - 33), see crc32_moved_on().
inline constexpr auto crc32_moves = [] {
    std::array<std::uint32_t, 18> powers{};
    for (unsigned words = 1; words < powers.size(); ++words)
        powers[words] = crc32_power_of_x(64 * words - 33);
    return powers;
}();

/// The register after so many zero bytes (8 to 136, whole words; PCLMULQDQ). The carry-less product of two reflected
/// values of 32 bits reads as a word that is too high by x, and a step multiplies by x^32: hence the exponent.
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32_moved_on(std::uint64_t state, std::size_t bytes) noexcept {
    using two_words = long long __attribute__((vector_size(16)));
    two_words product{static_cast<long long>(state), 0};
    const two_words power{static_cast<long long>(crc32_moves[bytes / 8]), 0};
    __asm__("pclmulqdq $0, %1, %0" : "+x"(product) : "x"(power));
    return crc32_step(0, static_cast<std::uint64_t>(product[0]));
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

/// Extends by `bytes` bytes at `data` and then by three values, for short data in a loop that has no register to spare.
/// Nobody asks whether the processor has the instruction, and sanitizers do not see what it reads.
[[nodiscard, gnu::always_inline]] inline std::uint32_t crc32_chain(std::uint32_t state32, const std::byte* data,
                                                                   std::size_t bytes, std::uint64_t first,
                                                                   std::uint64_t second, std::uint64_t third) noexcept {
    std::uint64_t state = state32;
    const auto four_words = [](std::uint64_t at, const std::byte* from) __attribute__((always_inline)) {
        at = crc32_step_at<8>(crc32_step_at<8>(at, from), from + 8);
        return crc32_step_at<8>(crc32_step_at<8>(at, from + 16), from + 24);
    };
    for (std::size_t blocks = bytes / 64; blocks > 0; --blocks, data += 64)
        state = four_words(four_words(state, data), data + 32);
    if ((bytes & 63) != 0) {
        if ((bytes & 32) != 0) {
            state = four_words(state, data);
            data += 32;
        }
        if ((bytes & 16) != 0) {
            state = crc32_step_at<8>(crc32_step_at<8>(state, data), data + 8);
            data += 16;
        }
        if ((bytes & 8) != 0) {
            state = crc32_step_at<8>(state, data);
            data += 8;
        }
        if ((bytes & 4) != 0) {
            state = crc32_step_at<4>(state, data);
            data += 4;
        }
        if ((bytes & 2) != 0) {
            state = crc32_step_at<2>(state, data);
            data += 2;
        }
        if ((bytes & 1) != 0)
            state = crc32_step_at<1>(state, data);
    }
    return static_cast<std::uint32_t>(crc32_step(crc32_step(crc32_step(state, first), second), third));
}
#endif

}  // namespace pmemstream::detail
