#pragma once

#include <chrono>
#include <cstdint>

// The system calls of the doorbell, and of threads that wait for each other.
namespace pmemstream::ipc {

enum class futex_outcome : std::uint8_t { woken, changed, timed_out, failed };

// For words that lie in a file mapping, which may be read-only for the one that waits.

/// Sleeps while `word` holds `expected`, at most `timeout` (max: no limit). Signals end it as `woken`.
[[nodiscard]] futex_outcome futex_wait(const std::uint32_t& word, std::uint32_t expected,
                                       std::chrono::nanoseconds timeout) noexcept;
/// Wakes all; returns how many slept.
int futex_wake_all(std::uint32_t& word) noexcept;
/// Whether waiting on `word`, in a read-only mapping, works here.
[[nodiscard]] bool futex_works(const std::uint32_t& word) noexcept;

#ifdef PMEMSTREAM_TEST_HOOKS
/// Does these in the kernel's place, so that a test says when somebody sleeps, and for how long.
class futex_stand_in {
public:
    virtual ~futex_stand_in() = default;
    [[nodiscard]] virtual futex_outcome wait(const std::uint32_t& word, std::uint32_t expected) noexcept = 0;
    virtual int wake_all(std::uint32_t& word) noexcept = 0;
};
/// Null: the kernel. Set while no thread waits.
inline futex_stand_in* standing_in = nullptr;
#endif

// For words of this process alone, which costs less. A wake reaches the sleepers that have one of its `bits`.

[[nodiscard]] futex_outcome futex_wait_private(const std::uint32_t& word, std::uint32_t expected, std::uint32_t bits,
                                               std::chrono::nanoseconds timeout) noexcept;
/// Wakes at most `count`.
void futex_wake_private(std::uint32_t& word, std::uint32_t bits, int count) noexcept;

/// Makes this process one whose running threads a global expedited membarrier reaches. False where the kernel cannot.
[[nodiscard]] bool membarrier_register() noexcept;
[[nodiscard]] bool membarrier_works() noexcept;
/// A full barrier here and on every thread of every registered process.
void membarrier() noexcept;

}  // namespace pmemstream::ipc
