#include "src/base/crc32c.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pmemstream::base {

namespace {

/// x^32 + x^28 + x^27 + ... + 1, 0x1edc6f41 reflected: here as in every register bit 31 - i is the coefficient of x^i.
constexpr std::uint32_t polynomial = 0x82f63b78;

constexpr std::uint32_t times_x(std::uint32_t value) noexcept {
    return (value >> 1) ^ ((value & 1) != 0 ? polynomial : 0);
}

// slices[k][b]: what byte b adds to the register when k more bytes follow it within the same eight.
constexpr auto slices = [] {
    std::array<std::array<std::uint32_t, 256>, 8> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        auto value = byte;
        for (int bit = 0; bit < 8; ++bit) {
            value = times_x(value);
        }
        table[0][byte] = value;
    }
    for (std::size_t k = 1; k < 8; ++k) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const auto before = table[k - 1][byte];
            table[k][byte] = (before >> 8) ^ table[0][before & 0xff];
        }
    }
    return table;
}();

constexpr std::uint64_t little_endian(std::uint64_t word) noexcept {
    if constexpr (std::endian::native == std::endian::big) {
        return __builtin_bswap64(word);
    }
    return word;
}

constexpr std::uint32_t sliced_step(std::uint32_t state, std::uint64_t value) noexcept {
    value ^= state;
    std::uint32_t result = 0;
    for (std::size_t k = 0; k < 8; ++k) {
        result ^= slices[7 - k][(value >> (8 * k)) & 0xff];
    }
    return result;
}

template <bool copying>
std::uint32_t sliced(std::uint32_t state, [[maybe_unused]] std::byte* to, const std::byte* from,
                     std::size_t bytes) noexcept {
    for (; bytes >= 8; bytes -= 8, from += 8) {
        std::uint64_t word;
        std::memcpy(&word, from, 8);
        if constexpr (copying) {
            std::memcpy(to, &word, 8);
            to += 8;
        }
        state = sliced_step(state, little_endian(word));
    }
    for (; bytes > 0; --bytes, ++from) {
        if constexpr (copying) {
            *to++ = *from;
        }
        state = (state >> 8) ^ slices[0][(state ^ std::to_integer<std::uint32_t>(*from)) & 0xff];
    }
    return state;
}

}  // namespace

namespace portable {

std::uint32_t crc32c_extend(std::uint32_t state, const void* data, std::size_t bytes) noexcept {
    return sliced<false>(state, nullptr, static_cast<const std::byte*>(data), bytes);
}

std::uint32_t crc32c_extend_u64(std::uint32_t state, std::uint64_t value) noexcept {
    return sliced_step(state, value);
}

std::uint32_t crc32c_copy(std::uint32_t state, void* to, const void* from, std::size_t bytes) noexcept {
    return sliced<true>(state, static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes);
}

}  // namespace portable

namespace detail {

namespace {

constinit std::atomic<crc32c_engine> engine_in_use{crc32c_engine::undetected};

#if defined(__x86_64__)

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

#define PMEMSTREAM_128 [[gnu::target("sse4.2,pclmul")]]
#define PMEMSTREAM_256 [[gnu::target("sse4.2,pclmul,avx2,vpclmulqdq")]]
#define PMEMSTREAM_512 [[gnu::target("sse4.2,pclmul,avx2,vpclmulqdq,avx512f,avx512bw,bmi2")]]
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

template <bool copying>
[[gnu::noinline]] std::uint32_t chain(std::uint32_t state, std::byte* to, const std::byte* from,
                                      std::size_t bytes) noexcept {
    return crc32c_chain<copying>(state, to, from, bytes);
}

template <bool copying>
PMEMSTREAM_INLINE std::uint32_t any_512(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept {
    if (bytes > 64) {
        return folded_512<copying>(state, to, from, bytes);
    }
    // A masked access never faults for a byte that is masked out; but when such a byte lies in a page that is not
    // present, the processor finds that out in microcode, for 150 ns and more.
    const auto crosses = [](const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 4096 > 4096 - 64; };
    if (crosses(from) || (copying && crosses(to))) [[unlikely]] {
        return chain<copying>(state, to, from, bytes);
    }
    return masked_512<copying>(state, to, from, bytes);
}

crc32c_engine best_engine() noexcept {
    __builtin_cpu_init();  // without it a caller in an early static initialiser would find no features at all
    const bool needed[] = {
        __builtin_cpu_supports("sse4.2") != 0,
        __builtin_cpu_supports("pclmul") != 0,
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq"),
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2"),
    };
    const auto present = std::find(std::begin(needed), std::end(needed), false) - std::begin(needed);
    return static_cast<crc32c_engine>(static_cast<std::ptrdiff_t>(crc32c_engine::portable) + present);
}

// Where the chain stops being the fastest was measured. PCLMULQDQ on 128 bits has at best the throughput of crc32q: it
// gains only where the latency of the chain no longer hides behind other work.
constexpr std::array implementations{
    crc32c_implementation{"portable", sliced<false>, sliced<true>, 0, 0},
    crc32c_implementation{"crc32q", chain<false>, chain<true>, 0, std::numeric_limits<std::size_t>::max()},
    crc32c_implementation{"pclmulqdq on 128 bits", folded_128<false>, folded_128<true>, 64, 256},
    crc32c_implementation{"vpclmulqdq on 256 bits", folded_256<false>, folded_256<true>, 128, 128},
    crc32c_implementation{"vpclmulqdq on 512 bits", any_512<false>, any_512<true>, 0, 17},
};

#else

crc32c_engine best_engine() noexcept {
    return crc32c_engine::portable;
}

constexpr std::array implementations{crc32c_implementation{"portable", sliced<false>, sliced<true>, 0, 0}};

#endif

const crc32c_implementation& implementation_of(crc32c_engine engine) noexcept {
    return implementations[static_cast<std::size_t>(engine) - 1];
}

crc32c_engine engine() noexcept {
    auto known = engine_in_use.load(std::memory_order_relaxed);
    if (known == crc32c_engine::undetected) [[unlikely]] {
        known = best_engine();
        crc32c_use(known);
    }
    return known;
}

// Apart, so that the preferred engine is reached without a stack frame.
template <bool copying>
[[gnu::noinline]] std::uint32_t run_other(std::uint32_t state, std::byte* to, const std::byte* from,
                                          std::size_t bytes) noexcept {
    const auto& chosen = implementation_of(engine());
#if defined(__x86_64__)
    if (bytes < chosen.chain_below) {
        return chain<copying>(state, to, from, bytes);
    }
#endif
    return (copying ? chosen.copy : chosen.extend)(state, to, from, bytes);
}

template <bool copying>
std::uint32_t run(std::uint32_t state, std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
#if defined(__x86_64__)
    if (engine_in_use.load(std::memory_order_relaxed) == crc32c_engine::fold_512) [[likely]] {
        return any_512<copying>(state, to, from, bytes);
    }
#endif
    return run_other<copying>(state, to, from, bytes);
}

}  // namespace

void crc32c_use(crc32c_engine engine) noexcept {
    const auto detected = engine != crc32c_engine::undetected;
    engine_in_use.store(engine, std::memory_order_relaxed);
    crc32c_chain_below.store(detected ? implementation_of(engine).chain_below : 0, std::memory_order_relaxed);
}

std::span<const crc32c_implementation> crc32c_implementations() noexcept {
    return std::span{implementations}.first(static_cast<std::size_t>(best_engine()));
}

std::uint32_t crc32c_extend_any(std::uint32_t state, const void* data, std::size_t bytes) noexcept {
    return run<false>(state, nullptr, static_cast<const std::byte*>(data), bytes);
}

std::uint32_t crc32c_copy_any(std::uint32_t state, void* to, const void* from, std::size_t bytes) noexcept {
    return run<true>(state, static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes);
}

std::uint32_t crc32c_extend_u64_any(std::uint32_t state, std::uint64_t value) noexcept {
    value = little_endian(value);
    return crc32c_extend_any(state, &value, sizeof value);
}

}  // namespace detail

bool crc32c_has_instruction() noexcept {
    return detail::best_engine() >= detail::crc32c_engine::instruction;
}

}  // namespace pmemstream::base
