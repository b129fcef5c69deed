#pragma once

#include "src/base/crc32c.hpp"

// The kernels that fold, for crc32c.cpp, which chooses among them; and what both know of the polynomial.
namespace pmemstream::base::detail {

/// x^32 + x^28 + x^27 + ... + 1, 0x1edc6f41 reflected: here as in every register bit 31 - i is the coefficient of x^i.
inline constexpr std::uint32_t polynomial = 0x82f63b78;

constexpr std::uint32_t times_x(std::uint32_t value) noexcept {
    return (value >> 1) ^ ((value & 1) != 0 ? polynomial : 0);
}

#if defined(__x86_64__)

// Each needs a processor that has what its engine is named for. `to` is not used unless `copying`. The attributes stand
// here too, as GCC takes those of a template's first declaration.
#define PMEMSTREAM_128 [[gnu::target("sse4.2,pclmul")]]
#define PMEMSTREAM_256 [[gnu::target("sse4.2,pclmul,avx2,vpclmulqdq")]]
#define PMEMSTREAM_512 [[gnu::target("sse4.2,pclmul,avx2,vpclmulqdq,avx512f,avx512bw,bmi2")]]

/// 64 bytes at least.
template <bool copying>
PMEMSTREAM_128 std::uint32_t folded_128(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;
/// 128 bytes at least.
template <bool copying>
PMEMSTREAM_256 std::uint32_t folded_256(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;
/// 64 bytes at most.
template <bool copying>
PMEMSTREAM_512 std::uint32_t masked_512(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;
/// More than 64 bytes.
template <bool copying>
PMEMSTREAM_512 std::uint32_t folded_512(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;

#endif

}  // namespace pmemstream::base::detail
