#pragma once

#include "ipc/control_file.hpp"
#include "src/base/mapped.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace pmemstream::ipc {

/// The writer's end of the wake-up: rings only where somebody announced that they sleep.
/// Thread safety: the two for appends from the appending thread, the rest from any.
class doorbell {
public:
    /// `stream_wake`: the wake word of the stream. `fenced`: this process could not register for membarrier and must
    /// order each commit store before the look at the flags by itself.
    doorbell(std::uint32_t& stream_wake, bool fenced) noexcept;

    /// Looks at this control file from now on. Earlier ones stay mapped, because the appending thread may be looking.
    void use(std::shared_ptr<control_file> control);
    [[nodiscard]] std::shared_ptr<control_file> control() const;

    /// Where the door of a region lies from the stream's, in bytes: what appends keep at hand.
    [[nodiscard]] static std::uint32_t door_offset(std::uint32_t index) noexcept {
        return door_of(index) * static_cast<std::uint32_t>(sizeof(door));
    }

    /// After a commit store to the region with that door: whether ring_from_append() is to be called. `Fenced` as the
    /// constructor was told.
    template <bool Fenced>
    [[nodiscard, gnu::always_inline]] bool wanted_after_commit(std::uint32_t door_offset) const noexcept {
        // [D4] The commit store is ordered before the load of the flags: by the sleeper's membarrier, which makes every
        //      running thread of this process pass a full barrier, or by the fence; only the compiler is left to be
        //      told. Pairs with [D2] in reader_control.cpp. Without it: writer and sleeper each miss the other's store.
        if constexpr (Fenced)
            std::atomic_thread_fence(std::memory_order_seq_cst);
        else
            std::atomic_signal_fence(std::memory_order_seq_cst);
        const auto* const stream = reinterpret_cast<const std::byte*>(doors_.load(std::memory_order_acquire));
        const auto& own = *reinterpret_cast<const door*>(stream + door_offset);
        return (base::load_relaxed(reinterpret_cast<const door*>(stream)->committed) |
                base::load_relaxed(own.committed)) != 0;
    }
    [[nodiscard]] bool wanted_after_commit(std::uint32_t door_offset) const noexcept {
        return fenced_ ? wanted_after_commit<true>(door_offset) : wanted_after_commit<false>(door_offset);
    }
    void ring_from_append(std::uint32_t index, std::uint32_t& region_wake) noexcept;

    /// For those that sleep on `wake`, no matter what the flags say.
    void ring(std::uint32_t& wake) noexcept;
    /// For the sleepers of the region at `index`, and of the stream, if the flags say that there are any.
    void ring_where_wanted(std::uint32_t index, std::uint32_t& region_wake) noexcept;
    [[nodiscard]] std::uint32_t& stream_wake() const noexcept { return stream_wake_; }

    /// True once after committed() put a ring off; whoever asks then rings where it is wanted.
    [[nodiscard]] bool take_put_off() noexcept { return put_off_.exchange(false, std::memory_order_acq_rel); }
    [[nodiscard]] std::uint64_t rings() const noexcept { return rings_.load(std::memory_order_relaxed); }

private:
    void ring_if_set(std::uint32_t& flag, std::uint32_t& wake) noexcept;
    [[nodiscard]] static std::uint32_t door_of(std::uint32_t index) noexcept {
        return index < region_doors ? index + 1 : 0;
    }

    std::atomic<door*> doors_;
    const bool fenced_;
    std::uint32_t& stream_wake_;
    std::atomic<bool> put_off_{false};
    std::atomic<std::uint64_t> rings_{0};
    std::atomic<unsigned> woken_{0};  // sleepers, by all rings so far
    unsigned vain_rings_ = 0;         // in a row; the appending thread's, as is the next
    std::chrono::steady_clock::time_point last_ring_;
    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<control_file>> used_;  // under mutex_
};

}  // namespace pmemstream::ipc
