#pragma once

#include <pmemstream/cursor.hpp>
#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace pmemstream::core {

using steady = std::chrono::steady_clock;

/// Tells the processor that this thread is waiting.
inline void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Lets a writer get ahead that is faster than it can be followed entry by entry: see cursor_options::coalesce. Without
/// it the two processors hand each line of the commit offset, and of what the reader's prefetchers take too early, to and
/// fro, and both go at that pace: 30 to 130 ns per entry instead of 8. The pauses double from an eighth of the longest,
/// and begin only after several looks in a row that found something, so that a short burst is over before they count.
/// Where even the longest bring little, several times in a row, they do not pay: somebody answers entry by entry, or the
/// reader takes as long for an entry as the writer. They are tried again much later then.
/// Thread safety: none.
class coalescing {
public:
    explicit coalescing(const cursor_options& how) noexcept
        : longest_(how.spin > zero ? std::clamp(how.coalesce, zero, longest_max) : zero) {}

    /// Before a look at how far the writer is. Returns how long it took, at least: not more than `timeout`.
    std::chrono::nanoseconds pause(std::chrono::nanoseconds timeout) const noexcept {
        const auto now = std::min(pause_, timeout);
        if (now <= zero)
            return zero;
        base::die_at(base::kill_point::reader_pauses);
        const auto until = steady::now() + now;
        do
            relax();
        while (steady::now() < until);
        return now;
    }
    /// What that look found: an entry, and so many bytes behind it.
    void looked(bool found, std::uint64_t bytes) noexcept {
        if (longest_ == zero)
            return;
        if (found && pause_ == longest_)
            in_vain_ = bytes >= bytes_worth_it ? 0 : in_vain_ + 1;
        if (!found || in_vain_ == in_vain_max) {
            looks_before_ = found ? looks_in_vain : looks_at_first;
            in_vain_ = looks_ = 0;
            pause_ = zero;
        } else if (++looks_ >= looks_before_) {
            looks_ = looks_before_;
            pause_ = std::min(longest_, std::max(2 * pause_, (longest_ + std::chrono::nanoseconds(7)) / 8));
        }
    }
    /// How long pause() will take, unless the timeout is shorter.
    [[nodiscard]] std::chrono::nanoseconds next() const noexcept { return pause_; }

    static constexpr unsigned looks_at_first = 8;
    static constexpr unsigned in_vain_max = 8;
    static constexpr unsigned looks_in_vain = 256;
    static constexpr std::uint64_t bytes_worth_it = 256;
    static constexpr std::chrono::nanoseconds longest_max{1'000'000};

private:
    static constexpr std::chrono::nanoseconds zero{0};
    std::chrono::nanoseconds longest_;
    std::chrono::nanoseconds pause_{0};
    unsigned looks_ = 0;  // in a row that found something, up to looks_before_
    unsigned looks_before_ = looks_at_first;
    unsigned in_vain_ = 0;  // of the longest pauses, in a row
};

}  // namespace pmemstream::core
