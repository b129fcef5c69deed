#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace pmemstream::durability {

/// Whose turn it is to flush: one thread's at a time, while the others sleep. A turn serves those whose entries were
/// committed when it looked; they are woken all at once when it ends. Who came later sleeps on for the next turn, but for
/// one, which takes it. So nobody is woken twice for one wait, however many wait.
///
/// Whoever could take a turn first gathers the others: it sleeps until all who slept when the last turn ended are back
/// (they append, and wait again), and the last of them takes the turn for all. Without that every second flush would
/// serve the half that came too late for the first.
/// Thread safety: all of it.
class turns {
public:
    /// `served`: what waits for a sequence up to this one waits no more.
    explicit turns(const std::uint64_t& served) noexcept : served_(served) {}

    /// For turns that are taken at every append: end() costs no fence, because who sleeps makes it for both with a
    /// membarrier, for which this process has registered. Before anybody else can call.
    void leave_fences_to_sleepers() noexcept { fenced_ = false; }

    /// Takes the turn unless another has it.
    [[nodiscard]] bool try_begin() noexcept;
    /// Sleeps until it can take the turn.
    void begin() noexcept;

    struct patience {
        std::chrono::nanoseconds limit;      ///< for being asleep; not after it has the turn
        std::chrono::nanoseconds to_gather;  ///< of it, for others to come; tried less and less often if they do not
    };
    /// For who waits until `upto` is served. True: it has the turn. False, at any time: it looks again whether it is
    /// served, and calls again, or leave().
    [[nodiscard]] bool begin_or_sleep(std::uint64_t upto, const patience& how) noexcept;
    /// By who was told false, and takes no turn after all: it may have been the one that was woken to take it.
    void leave() noexcept;

    /// By the one whose turn it is: it serves what is committed up to here.
    void will_serve(std::uint64_t upto) noexcept { will_serve_.store(upto, std::memory_order_release); }
    void end() noexcept;

private:
    [[nodiscard]] std::uint32_t sleeping_for(std::uint32_t turn) const noexcept;
    [[nodiscard]] bool replace(std::uint32_t seen, std::uint32_t by) noexcept;
    [[nodiscard]] bool gather(std::uint32_t seen, std::uint64_t upto, const patience& how) noexcept;
    enum class slept : std::uint8_t { until_woken, no_longer, all_are_here };
    slept sleep(std::uint32_t seen, std::uint32_t turn, std::uint64_t upto, std::chrono::nanoseconds limit) noexcept;
    void wake(std::uint32_t turn, int count) noexcept;

    const std::uint64_t& served_;
    bool fenced_ = true;
    std::atomic<std::uint64_t> will_serve_{0};
    std::atomic<std::uint32_t> expected_{0};  // slept when the last turn ended
    std::atomic<std::uint32_t> skip_{0};      // turns before the next attempt to gather
    std::atomic<std::uint32_t> skip_next_{0};

    alignas(64) std::uint32_t word_ = 0;                    // futex word: see turns.cpp
    std::array<std::atomic<std::uint32_t>, 2> sleepers_{};  // for the end of a turn of even, and of odd, number
};

}  // namespace pmemstream::durability
