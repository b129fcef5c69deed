#pragma once

#include <pmemstream/detail/crc32_step.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// CRC32C (Castagnoli, RFC 3720), the checksum of every structure and entry on the medium.
//
// Everything takes and returns the raw register: the caller starts with ~0 (or with a seed of its own) and inverts at
// the end, so that calls chain over pieces. All functions may be called from any thread and during static
// initialisation; they allocate nothing and never read or write outside the ranges they are given.
//
// Short payloads are done here, inline: an out-of-line call costs about as much as the few words it would process. The
// instruction is written as inline assembler because the library is compiled for baseline x86-64: a function with a
// target attribute could not be inlined into its callers, and like this no intrinsics header is needed either.

namespace pmemstream::base {

/// The table-driven version (slicing by 8): what other processors use, and what the tests hold the others against.
namespace portable {

[[nodiscard]] std::uint32_t crc32c_extend(std::uint32_t state, const void* data, std::size_t bytes) noexcept;
[[nodiscard]] std::uint32_t crc32c_extend_u64(std::uint32_t state, std::uint64_t value) noexcept;
[[nodiscard]] std::uint32_t crc32c_copy(std::uint32_t state, void* to, const void* from, std::size_t bytes) noexcept;

}  // namespace portable

namespace detail {

/// How this processor computes CRC32C. Each one needs all that the ones before it need, so "at least" is a comparison.
enum class crc32c_engine : std::uint8_t {
    undetected,
    portable,
    instruction,  ///< SSE4.2 crc32q
    fold_128,     ///< and PCLMULQDQ
    fold_256,     ///< and VPCLMULQDQ, AVX2
    fold_512,     ///< and AVX-512 F and BW, BMI2
};

/// Below this many bytes the inline chain of crc32q is the fastest; 0 when the instruction is missing or not looked for
/// yet, so that one comparison decides. Set by the first call that finds nothing set, not by a static initialiser: a
/// caller that runs earlier would have to be right without it anyway. Relaxed is enough: it publishes nothing else, and
/// every thread would store the same value.
[[gnu::visibility("hidden")]] inline constinit std::atomic<std::size_t> crc32c_chain_below{0};

/// What the first call does by itself. For the tests: from now on compute with `engine`, which the processor must
/// support.
void crc32c_use(crc32c_engine engine) noexcept;

/// `to` is not used by the kernels that do not copy.
using crc32c_kernel = std::uint32_t (*)(std::uint32_t state, std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;

/// One way to compute, for the tests to force at every length it can do, not only where it is the fastest.
struct crc32c_implementation {
    const char* name;
    crc32c_kernel extend;
    crc32c_kernel copy;
    std::size_t bytes_min;    ///< what it can do
    std::size_t chain_below;  ///< where it is worth it: shorter ones go through the chain of crc32q
};

/// Those this processor can run, the preferred one last.
[[nodiscard]] std::span<const crc32c_implementation> crc32c_implementations() noexcept;

[[nodiscard]] std::uint32_t crc32c_extend_any(std::uint32_t state, const void* data, std::size_t bytes) noexcept;
[[nodiscard]] std::uint32_t crc32c_extend_u64_any(std::uint32_t state, std::uint64_t value) noexcept;
[[nodiscard]] std::uint32_t crc32c_copy_any(std::uint32_t state, void* to, const void* from,
                                            std::size_t bytes) noexcept;

#if defined(__clang__)
inline constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// Accesses under a mask escape the sanitizers, and GCC's looks only at where an unaligned one begins. So their builds
/// first show them every range through functions that they check to the last byte.
inline void show_to_sanitizer([[maybe_unused]] void* to, [[maybe_unused]] const void* from,
                              [[maybe_unused]] std::size_t bytes) noexcept {
    if constexpr (sanitized) {
        if (bytes > 0 && to != nullptr) {
            std::memcpy(to, from, bytes);
        } else if (bytes > 0) {
            const void* volatile same = from;
            [[maybe_unused]] const volatile int seen = std::memcmp(from, same, bytes);
        }
    }
}

#if defined(__x86_64__)

using pmemstream::detail::crc32_step;
using pmemstream::detail::crc32_step_partial;

template <typename word>
[[nodiscard, gnu::always_inline]] inline word load(const std::byte* from) noexcept {
    word value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <typename word>
[[gnu::always_inline]] inline void store(std::byte* to, word value) noexcept {
    std::memcpy(to, &value, sizeof value);
}

/// One chain of crc32q, copying along when `copying` (else `to` is unused). The ends that are not whole words are read
/// and written as words that overlap what precedes them: a loop over single bytes would cost more than all the rest.
template <bool copying>
[[nodiscard]] inline std::uint32_t crc32c_chain(std::uint32_t state32, [[maybe_unused]] std::byte* to,
                                                const std::byte* from, std::size_t bytes) noexcept {
    std::uint64_t state = state32;
    std::uint64_t tail = 0;
    auto left = bytes;
    if (bytes >= 8) {
        do {
            const auto word = load<std::uint64_t>(from);
            if constexpr (copying) {
                store(to, word);
                to += 8;
            }
            state = crc32_step(state, word);
            from += 8;
            left -= 8;
        } while (left >= 8);
        if (left == 0) {
            return static_cast<std::uint32_t>(state);
        }
        const auto word = load<std::uint64_t>(from + left - 8);
        if constexpr (copying) {
            store(to + left - 8, word);
        }
        tail = word >> (64 - 8 * left);
    } else if (bytes >= 4) {
        const auto low = load<std::uint32_t>(from);
        const auto high = load<std::uint32_t>(from + bytes - 4);
        if constexpr (copying) {
            store(to, low);
            store(to + bytes - 4, high);
        }
        tail = low | std::uint64_t{high} << (8 * (bytes - 4));
    } else if (bytes > 0) {
        const auto first = from[0];
        const auto middle = from[bytes / 2];
        const auto last = from[bytes - 1];
        if constexpr (copying) {
            to[0] = first;
            to[bytes / 2] = middle;
            to[bytes - 1] = last;
        }
        tail = std::to_integer<std::uint64_t>(first) | std::to_integer<std::uint64_t>(middle) << (8 * (bytes / 2)) |
               std::to_integer<std::uint64_t>(last) << (8 * (bytes - 1));
    }
    return static_cast<std::uint32_t>(crc32_step_partial(state, tail, left));
}

#endif

}  // namespace detail

/// Whether detail::crc32_step() runs on this processor.
[[nodiscard]] bool crc32c_has_instruction() noexcept;
/// And pmemstream::detail::crc32_moved_on().
[[nodiscard]] bool crc32c_has_multiplication() noexcept;

/// Extends `state` by `bytes` bytes at `data` (which may be null when there are none).
[[nodiscard]] inline std::uint32_t crc32c_extend(std::uint32_t state, const void* data, std::size_t bytes) noexcept {
    detail::show_to_sanitizer(nullptr, data, bytes);
#if defined(__x86_64__)
    if (bytes < detail::crc32c_chain_below.load(std::memory_order_relaxed)) {
        return detail::crc32c_chain<false>(state, nullptr, static_cast<const std::byte*>(data), bytes);
    }
#endif
    return detail::crc32c_extend_any(state, data, bytes);
}

/// Extends `state` by the eight bytes of `value` in little-endian order, whatever the order of this machine.
[[nodiscard]] inline std::uint32_t crc32c_extend_u64(std::uint32_t state, std::uint64_t value) noexcept {
#if defined(__x86_64__)
    if (detail::crc32c_chain_below.load(std::memory_order_relaxed) > 0) [[likely]] {
        return static_cast<std::uint32_t>(detail::crc32_step(state, value));
    }
#endif
    return detail::crc32c_extend_u64_any(state, value);
}

/// Extends `state` by three values, asking for the instruction once.
[[nodiscard]] inline std::uint32_t crc32c_extend_u64s(std::uint32_t state, std::uint64_t first, std::uint64_t second,
                                                      std::uint64_t third) noexcept {
#if defined(__x86_64__)
    if (detail::crc32c_chain_below.load(std::memory_order_relaxed) > 0) [[likely]] {
        using detail::crc32_step;
        return static_cast<std::uint32_t>(crc32_step(crc32_step(crc32_step(state, first), second), third));
    }
#endif
    state = detail::crc32c_extend_u64_any(state, first);
    state = detail::crc32c_extend_u64_any(state, second);
    return detail::crc32c_extend_u64_any(state, third);
}

/// Copies `bytes` bytes and extends `state` by them in one pass. The ranges must not overlap. Bytes of `to` may be
/// written twice, always with their final value: whoever watches the destination must wait for the call to return.
[[nodiscard]] inline std::uint32_t crc32c_copy(std::uint32_t state, void* to, const void* from,
                                               std::size_t bytes) noexcept {
    detail::show_to_sanitizer(to, from, bytes);
#if defined(__x86_64__)
    if (bytes < detail::crc32c_chain_below.load(std::memory_order_relaxed)) {
        return detail::crc32c_chain<true>(state, static_cast<std::byte*>(to), static_cast<const std::byte*>(from),
                                          bytes);
    }
#endif
    return detail::crc32c_copy_any(state, to, from, bytes);
}

/// The checksum of one piece, with the customary inversions: "123456789" gives 0xe3069283.
[[nodiscard]] inline std::uint32_t crc32c(const void* data, std::size_t bytes) noexcept {
    return ~crc32c_extend(~std::uint32_t{0}, data, bytes);
}

}  // namespace pmemstream::base
