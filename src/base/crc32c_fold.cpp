#include "src/base/crc32c_fold.hpp"

#if defined(__x86_64__)

#include <immintrin.h>
#include <algorithm>
#include <array>

namespace pmemstream::base::detail {

// Folding, after Gopal, Ozturk, Guilford, Wolrich, Feghali, Dixon, Karakoyunlu: "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction" (Intel, 2009). 16 bytes that stand d bytes before the end of the message
// count as themselves times x^(8d), modulo the polynomial. So every block can be moved to the end by two carry-less
// multiplications with constants, independently of all others, and what is left after adding them is 16 bytes with the
// CRC of the whole, which two crc32q reduce.
//
// The exponents. A block in a register is lo * x^64 + hi: memory order is falling degree, bit i of lo is x^(63 - i).
// With a constant K kept reflected in 32 bits, where bit j is x^(31 - j), bit i + j of the 128-bit product is worth
// x^(94 - i - j); but the register's bit m means x^(127 - m), so that the product reads as too high by x^33. Hence
// K = x^(8d + 64 - 33) for lo and K = x^(8d - 33) for hi. The exponent is negative for small d, which is no obstacle as
// x has an inverse modulo the polynomial; so d = 0, and even a block that goes on past the end, need no code of their
// own.

namespace {

struct fold_pair {
    std::uint32_t lo;
    std::uint32_t hi;
};

constexpr std::uint32_t divided_by_x(std::uint32_t value) noexcept {
    return (value >> 31) != 0 ? ((value ^ polynomial) << 1) | 1 : value << 1;
}

// The constants by distance d: rows by d % 16, and in a row falling with d, so that those of a vector of several blocks
// are one load. The longest distance needed is from the accumulators of the widest engine (256 bytes) over a rest of up
// to 255; the last pair of a row is for a block that only begins in the message. A vector that reaches past it is zero
// there, so that it does not matter what it reads from the next row.
constexpr std::size_t row_pairs = 32;

constexpr auto folds = [] {
    constexpr std::size_t before = 8 * 16 + 33;
    std::array<std::uint32_t, before + 8 * 16 * row_pairs> power{};  // [before + i] is x^i
    std::uint32_t value = std::uint32_t{1} << 31;
    for (std::size_t i = 0; i < before; ++i) {
        value = divided_by_x(value);
    }
    for (auto& each : power) {
        each = value;
        value = times_x(value);
    }
    std::array<fold_pair, 16 * row_pairs + 3> result{};
    for (std::size_t i = 0; i < 16 * row_pairs; ++i) {
        const auto left = 16 * (row_pairs - 1 - i % row_pairs) + i / row_pairs;  // d + 16
        const auto* x_to_8d = &power[before + 8 * left - 8 * 16];
        result[i] = {x_to_8d[64 - 33], *(x_to_8d - 33)};
    }
    return result;
}();

/// The constants for a vector that starts `left` bytes before the end of the message, where a block moves by 16 less.
[[gnu::always_inline]] inline const __m128i* constants_at(std::size_t left) noexcept {
    return reinterpret_cast<const __m128i*>(folds.data() + (row_pairs - 1) + left % 16 * row_pairs - left / 16);
}

#define PMEMSTREAM_INLINE [[gnu::always_inline]] inline

PMEMSTREAM_128 PMEMSTREAM_INLINE __m128i pairs_128(std::size_t left) noexcept {
    return _mm_cvtepu32_epi64(_mm_loadl_epi64(constants_at(left)));
}

PMEMSTREAM_128 PMEMSTREAM_INLINE __m128i fold(__m128i vector, __m128i pairs, __m128i onto) noexcept {
    return onto ^ _mm_clmulepi64_si128(vector, pairs, 0x00) ^ _mm_clmulepi64_si128(vector, pairs, 0x11);
}

PMEMSTREAM_128 PMEMSTREAM_INLINE std::uint32_t reduce(__m128i sum) noexcept {
    const auto state = crc32_step(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(sum)));
    return static_cast<std::uint32_t>(crc32_step(state, static_cast<std::uint64_t>(_mm_extract_epi64(sum, 1))));
}

template <bool copying>
PMEMSTREAM_128 PMEMSTREAM_INLINE __m128i take_128(std::byte* to, const std::byte* from, std::size_t at) noexcept {
    const auto vector = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
    if constexpr (copying) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), vector);
    }
    return vector;
}

}  // namespace

/// 64 bytes at least. Four accumulators run through the message and are moved to its end; what is less than four
/// vectors goes through the chain, which costs no more than setting up for it here would.
template <bool copying>
PMEMSTREAM_128 std::uint32_t folded_128(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept {
    auto a = __m128i{state} ^ take_128<copying>(to, from, 0);
    auto b = take_128<copying>(to, from, 16);
    auto c = take_128<copying>(to, from, 32);
    auto d = take_128<copying>(to, from, 48);
    const auto ahead = pairs_128(16 + 64);
    std::size_t at = 64;
    for (; bytes - at >= 64; at += 64) {
        a = fold(a, ahead, take_128<copying>(to, from, at));
        b = fold(b, ahead, take_128<copying>(to, from, at + 16));
        c = fold(c, ahead, take_128<copying>(to, from, at + 32));
        d = fold(d, ahead, take_128<copying>(to, from, at + 48));
    }
    state = reduce(fold(a, pairs_128(64), fold(b, pairs_128(48), fold(c, pairs_128(32), d))));
    return crc32c_chain<copying>(state, copying ? to + at : nullptr, from + at, bytes - at);
}

namespace {

PMEMSTREAM_256 PMEMSTREAM_INLINE __m256i pairs_256(std::size_t left) noexcept {
    return _mm256_cvtepu32_epi64(_mm_loadu_si128(constants_at(left)));
}

PMEMSTREAM_256 PMEMSTREAM_INLINE __m256i fold(__m256i vector, __m256i pairs, __m256i onto) noexcept {
    return onto ^ _mm256_clmulepi64_epi128(vector, pairs, 0x00) ^ _mm256_clmulepi64_epi128(vector, pairs, 0x11);
}

template <bool copying>
PMEMSTREAM_256 PMEMSTREAM_INLINE __m256i take_256(std::byte* to, const std::byte* from, std::size_t at) noexcept {
    const auto vector = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
    if constexpr (copying) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at), vector);
    }
    return vector;
}

}  // namespace

/// The same with vectors of two blocks, for 128 bytes at least.
template <bool copying>
PMEMSTREAM_256 std::uint32_t folded_256(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept {
    auto a = __m256i{state} ^ take_256<copying>(to, from, 0);
    auto b = take_256<copying>(to, from, 32);
    auto c = take_256<copying>(to, from, 64);
    auto d = take_256<copying>(to, from, 96);
    const auto ahead = _mm256_broadcastsi128_si256(pairs_128(16 + 128));
    std::size_t at = 128;
    for (; bytes - at >= 128; at += 128) {
        a = fold(a, ahead, take_256<copying>(to, from, at));
        b = fold(b, ahead, take_256<copying>(to, from, at + 32));
        c = fold(c, ahead, take_256<copying>(to, from, at + 64));
        d = fold(d, ahead, take_256<copying>(to, from, at + 96));
    }
    const auto half = fold(a, pairs_256(128), fold(b, pairs_256(96), __m256i{}));
    const auto sum = fold(c, pairs_256(64), fold(d, pairs_256(32), half));
    state = reduce(_mm256_castsi256_si128(sum) ^ _mm256_extracti128_si256(sum, 1));
    return crc32c_chain<copying>(state, copying ? to + at : nullptr, from + at, bytes - at);
}

namespace {

// The zero-masking intrinsics below have masks of all ones and become the plain instructions. The plain intrinsics
// would make GCC 12 warn about the "undefined" operand that its own headers give them.

PMEMSTREAM_512 PMEMSTREAM_INLINE __m512i pairs_512(std::size_t left) noexcept {
    return _mm512_maskz_cvtepu32_epi64(0xff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(constants_at(left))));
}

PMEMSTREAM_512 PMEMSTREAM_INLINE __m512i fold(__m512i vector, __m512i pairs, __m512i onto) noexcept {
    return onto ^ _mm512_clmulepi64_epi128(vector, pairs, 0x00) ^ _mm512_clmulepi64_epi128(vector, pairs, 0x11);
}

PMEMSTREAM_512 PMEMSTREAM_INLINE std::uint32_t reduce(__m512i vector) noexcept {
    const auto sum =
        _mm512_maskz_extracti64x4_epi64(0xff, vector, 0) ^ _mm512_maskz_extracti64x4_epi64(0xff, vector, 1);
    return reduce(_mm256_castsi256_si128(sum) ^ _mm256_extracti128_si256(sum, 1));
}

template <bool copying>
PMEMSTREAM_512 PMEMSTREAM_INLINE __m512i take_512(std::byte* to, const std::byte* from, std::size_t at) noexcept {
    const auto vector = _mm512_loadu_si512(from + at);
    if constexpr (copying) {
        _mm512_storeu_si512(to + at, vector);
    }
    return vector;
}

}  // namespace

/// 64 bytes at most. Masks instead of branches on the length: where entries differ in length, memcpy and the chain pay
/// for a mispredicted branch each time, which is more than all of this.
template <bool copying>
PMEMSTREAM_512 std::uint32_t masked_512(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept {
    const __mmask64 mask = _bzhi_u64(~std::uint64_t{0}, static_cast<unsigned>(bytes));
    const auto vector = _mm512_maskz_loadu_epi8(mask, from);
    if constexpr (copying) {
        _mm512_mask_storeu_epi8(to, mask, vector);
    }
    return reduce(fold(vector ^ __m512i{state}, pairs_512(bytes), __m512i{}));
}

/// More than 64 bytes. Up to 256, where entries still differ in length, branches cost more than multiplications: so the
/// last 127 bytes or less take no loop and no chain, but two vectors that end with the message, with those of their
/// bytes masked out that are counted already. They are copied whole, which leaves nothing small to copy.
template <bool copying>
PMEMSTREAM_512 std::uint32_t folded_512(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept {
    constexpr auto all = ~__mmask64{0};
    const auto last = _mm512_loadu_si512(from + bytes - 64);
    auto a = __m512i{state} ^ take_512<copying>(to, from, 0);
    __m512i sum;
    __m512i sum_2;
    if (bytes < 128) {
        sum = fold(a, pairs_512(bytes), __m512i{});
        sum_2 = fold(_mm512_maskz_mov_epi8(all << (127 - bytes) << 1, last), pairs_512(64), __m512i{});
    } else {
        auto b = take_512<copying>(to, from, 64);
        auto left = bytes - 128;
        if (bytes < 256) {
            sum = fold(a, pairs_512(bytes), __m512i{});
            sum_2 = fold(b, pairs_512(bytes - 64), __m512i{});
        } else {
            auto c = take_512<copying>(to, from, 128);
            auto d = take_512<copying>(to, from, 192);
            const auto ahead = _mm512_maskz_broadcast_i32x4(0xffff, pairs_128(16 + 256));
            std::size_t at = 256;
            for (; bytes - at >= 256; at += 256) {
                a = fold(a, ahead, take_512<copying>(to, from, at));
                b = fold(b, ahead, take_512<copying>(to, from, at + 64));
                c = fold(c, ahead, take_512<copying>(to, from, at + 128));
                d = fold(d, ahead, take_512<copying>(to, from, at + 192));
            }
            left = bytes - at;
            sum = fold(a, pairs_512(left + 256), fold(b, pairs_512(left + 192), __m512i{}));
            sum_2 = fold(c, pairs_512(left + 128), fold(d, pairs_512(left + 64), __m512i{}));
            if (left >= 128) {
                sum = fold(take_512<copying>(to, from, at), pairs_512(left), sum);
                sum_2 = fold(take_512<copying>(to, from, at + 64), pairs_512(left - 64), sum_2);
                left -= 128;
            }
        }
        if (left > 0) {
            // The first starts where they start, or earlier when less than its size is left; the second has what
            // follows the first, 63 bytes at most and perhaps none.
            const auto reach = std::max<std::size_t>(left, 64);
            const auto first = take_512<copying>(to, from, bytes - reach);
            sum = fold(_mm512_maskz_mov_epi8(all << (reach - left), first), pairs_512(reach), sum);
            sum_2 = fold(_mm512_maskz_mov_epi8(all << (127 - reach) << 1, last), pairs_512(64), sum_2);
        }
    }
    if constexpr (copying) {
        _mm512_storeu_si512(to + bytes - 64, last);
    }
    return reduce(sum ^ sum_2);
}

#define PMEMSTREAM_INSTANCES(kernel)                                                                         \
    template std::uint32_t kernel<false>(std::uint32_t, std::byte*, const std::byte*, std::size_t) noexcept; \
    template std::uint32_t kernel<true>(std::uint32_t, std::byte*, const std::byte*, std::size_t) noexcept
PMEMSTREAM_INSTANCES(folded_128);
PMEMSTREAM_INSTANCES(folded_256);
PMEMSTREAM_INSTANCES(masked_512);
PMEMSTREAM_INSTANCES(folded_512);

}  // namespace pmemstream::base::detail

#endif
