#pragma once

#include <algorithm>
#include <chrono>

namespace pmemstream::log {

using steady = std::chrono::steady_clock;

/// Tells the processor that this thread is waiting.
inline void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/// Lets a writer get ahead that is faster than it can be followed entry by entry: see cursor_options::coalesce. Without
/// it the two processors hand each line of the commit offset, and of what the reader's prefetchers take too early, to and
/// fro, and both go at that pace: 30 to 130 ns per entry instead of 8. The pauses double from an eighth of the longest,
/// and begin only after several looks in a row, so that a short burst is over before they count.
/// Thread safety: none.
class coalescing {
public:
    explicit coalescing(std::chrono::nanoseconds longest) noexcept
        : longest_(std::clamp(longest, std::chrono::nanoseconds(0), longest_max)) {}

    /// Before the first look of a wait().
    void pause(std::chrono::nanoseconds timeout) const noexcept {
        if (pause_ == std::chrono::nanoseconds::zero() || timeout <= std::chrono::nanoseconds::zero())
            return;
        const auto until = steady::now() + std::min(pause_, timeout);
        do
            relax();
        while (steady::now() < until);
    }
    /// What that look found: an entry, and more behind it.
    void looked(bool found, bool more) noexcept {
        // Where even the longest pause brings one entry at a time, somebody only answers.
        const bool in_vain = pause_ == longest_ && !more;
        looks_ = found && !in_vain ? std::min(looks_ + 1, looks_before) : 0;
        if (looks_ < looks_before)
            pause_ = std::chrono::nanoseconds::zero();
        else
            pause_ = std::min(longest_, std::max(2 * pause_, longest_ / 8));
    }
    /// How long pause() will take, unless the timeout is shorter.
    [[nodiscard]] std::chrono::nanoseconds next() const noexcept { return pause_; }

    static constexpr unsigned looks_before = 8;
    static constexpr std::chrono::nanoseconds longest_max{1'000'000};

private:
    std::chrono::nanoseconds longest_;
    std::chrono::nanoseconds pause_{0};
    unsigned looks_ = 0;  // in a row that found something
};

}  // namespace pmemstream::log
