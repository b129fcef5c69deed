#include "src/base/crc32c_fold.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <limits>

namespace pmemstream::base {

namespace {

// slices[k][b]: what byte b adds to the register when k more bytes follow it within the same eight.
constexpr auto slices = [] {
    std::array<std::array<std::uint32_t, 256>, 8> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        auto value = byte;
        for (int bit = 0; bit < 8; ++bit) {
            value = detail::times_x(value);
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

template <bool copying>
[[gnu::noinline]] std::uint32_t chain(std::uint32_t state, std::byte* to, const std::byte* from,
                                      std::size_t bytes) noexcept {
    return crc32c_chain<copying>(state, to, from, bytes);
}

template <bool copying>
[[gnu::always_inline]] inline std::uint32_t any_512(std::uint32_t state, std::byte* to, const std::byte* from,
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

bool crc32c_has_multiplication() noexcept {
    return detail::best_engine() >= detail::crc32c_engine::fold_128;
}

}  // namespace pmemstream::base
