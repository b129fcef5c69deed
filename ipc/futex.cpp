#include "ipc/futex.hpp"

#include "src/base/mapped.hpp"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <climits>
#include <ctime>

namespace pmemstream::ipc {

namespace {

timespec timespec_of(std::chrono::nanoseconds t) noexcept {
    return {static_cast<time_t>(t.count() / 1'000'000'000), static_cast<long>(t.count() % 1'000'000'000)};
}

futex_outcome outcome_of(long code) noexcept {
    if (code == 0 || errno == EINTR)
        return futex_outcome::woken;
    if (errno == EAGAIN)
        return futex_outcome::changed;
    return errno == ETIMEDOUT ? futex_outcome::timed_out : futex_outcome::failed;
}

}  // namespace

futex_outcome futex_wait(const std::uint32_t& word, std::uint32_t expected, std::chrono::nanoseconds timeout) noexcept {
#ifdef PMEMSTREAM_TEST_HOOKS
    if (standing_in != nullptr)
        return standing_in->wait(word, expected);
#endif
    const timespec limit = timespec_of(timeout);
    const bool bounded = timeout != std::chrono::nanoseconds::max();
    return outcome_of(::syscall(SYS_futex, &word, FUTEX_WAIT, expected, bounded ? &limit : nullptr, nullptr, 0));
}

int futex_wake_all(std::uint32_t& word) noexcept {
#ifdef PMEMSTREAM_TEST_HOOKS
    if (standing_in != nullptr)
        return standing_in->wake_all(word);
#endif
    return static_cast<int>(::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0));
}

futex_outcome futex_wait_private(const std::uint32_t& word, std::uint32_t expected, std::uint32_t bits,
                                 std::chrono::nanoseconds timeout) noexcept {
    // Here the limit is a point in time.
    timespec limit{};
    bool bounded = timeout != std::chrono::nanoseconds::max();
    if (bounded) {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        bounded = timeout < std::chrono::nanoseconds::max() - now;
        if (bounded)
            limit = timespec_of(now + timeout);
    }
    return outcome_of(::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                                bounded ? &limit : nullptr, nullptr, bits));
}

void futex_wake_private(std::uint32_t& word, std::uint32_t bits, int count) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, count, nullptr, nullptr, bits);
}

bool futex_works(const std::uint32_t& word) noexcept {
    // A value that the word does not hold: the call returns at once, and tells.
    const auto other = base::load_relaxed(word) + 0x4000'0000u;
    return futex_wait(word, other, std::chrono::nanoseconds(1)) == futex_outcome::changed;
}

namespace {
long membarrier_call(int command) noexcept {
    return ::syscall(SYS_membarrier, command, 0, 0);
}
}  // namespace

bool membarrier_register() noexcept {
    return membarrier_call(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

bool membarrier_works() noexcept {
    const long commands = membarrier_call(MEMBARRIER_CMD_QUERY);
    return commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
}

void membarrier() noexcept {
    membarrier_call(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

}  // namespace pmemstream::ipc
