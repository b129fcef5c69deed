#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// Flushing cache lines by hand, with the instruction that libpmem2 would choose by the same look at the processor.
namespace bench {

enum class flush_kind : std::uint8_t { clwb, clflushopt, clflush };

#if defined(__x86_64__)
[[nodiscard]] constexpr bool can_flush_lines() noexcept {
    return true;
}

[[nodiscard]] inline flush_kind best_flush() noexcept {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0)
        return flush_kind::clflush;
    return (ebx & bit_CLWB) != 0         ? flush_kind::clwb
           : (ebx & bit_CLFLUSHOPT) != 0 ? flush_kind::clflushopt
                                         : flush_kind::clflush;
}

inline void flush_lines(const std::byte* begin, std::size_t bytes, flush_kind how) noexcept {
    const auto first = reinterpret_cast<std::uintptr_t>(begin) & ~std::uintptr_t{63};
    for (auto at = first; at < reinterpret_cast<std::uintptr_t>(begin) + bytes; at += 64) {
        auto& line = *reinterpret_cast<volatile char*>(at);
        if (how == flush_kind::clwb)
            __asm__ volatile("clwb %0" : "+m"(line));
        else if (how == flush_kind::clflushopt)
            __asm__ volatile("clflushopt %0" : "+m"(line));
        else
            __asm__ volatile("clflush %0" : "+m"(line));
    }
}

inline void store_fence() noexcept {
    __asm__ volatile("sfence" : : : "memory");
}
#else
[[nodiscard]] constexpr bool can_flush_lines() noexcept {
    return false;
}
[[nodiscard]] inline flush_kind best_flush() noexcept {
    return flush_kind::clflush;
}
inline void flush_lines(const std::byte*, std::size_t, flush_kind) noexcept {}
inline void store_fence() noexcept {}
#endif

}  // namespace bench
