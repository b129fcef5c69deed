#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <climits>
#include <cstdint>

namespace bench {

enum class shared_by : std::uint8_t { threads, processes };

constexpr int futex_flags(shared_by whom) noexcept {
    return whom == shared_by::threads ? FUTEX_PRIVATE_FLAG : 0;
}

/// Sleeps while `word` holds `seen`; may return early.
inline void futex_wait(std::uint32_t& word, std::uint32_t seen, shared_by whom) noexcept {
    (void)::syscall(SYS_futex, &word, FUTEX_WAIT | futex_flags(whom), seen, nullptr, nullptr, 0);
}
inline void futex_wake(std::uint32_t& word, shared_by whom) noexcept {
    (void)::syscall(SYS_futex, &word, FUTEX_WAKE | futex_flags(whom), INT_MAX, nullptr, nullptr, 0);
}

}  // namespace bench
