#pragma once

#include "ipc/control_file.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace pmemstream::ipc {

/// The writer's end of the wake-up: rings only where somebody announced that they sleep.
/// Thread safety: the two for appends from the appending thread, the rest from any.
class doorbell {
public:
    /// `stream_wake`: the wake word of the stream. `doors`: where the appending thread finds the flags. `fenced`: this
    /// process could not register for membarrier and must order each commit store before the look at the flags by
    /// itself.
    doorbell(std::uint32_t& stream_wake, std::atomic<const std::byte*>& doors, bool fenced) noexcept;

    [[nodiscard]] bool fenced() const noexcept { return fenced_; }

    /// Looks at this control file from now on. Earlier ones stay mapped, because the appending thread may be looking.
    void use(std::shared_ptr<control_file> control);
    [[nodiscard]] std::shared_ptr<control_file> control() const;

    /// Where the door of a region lies from the stream's, in bytes: what appends keep at hand.
    [[nodiscard]] static std::uint32_t door_offset(std::uint32_t index) noexcept {
        return door_of(index) * static_cast<std::uint32_t>(sizeof(door));
    }

    /// After a commit store, where detail::somebody_sleeps() says so.
    void ring_from_append(std::uint32_t index, std::uint32_t& region_wake) noexcept;

    /// For those that sleep on `wake`, no matter what the flags say.
    void ring(std::uint32_t& wake) noexcept;
    /// For the sleepers of the region at `index`, and of the stream, if the flags say that there are any.
    void ring_where_wanted(std::uint32_t index, std::uint32_t& region_wake) noexcept;
    [[nodiscard]] std::uint32_t& stream_wake() const noexcept { return stream_wake_; }

    /// After persisted offsets were stored: for the sleepers on the persisted horizon of that region and of the stream.
    void ring_persisted(std::uint32_t index, std::uint32_t& region_wake, std::uint32_t& stream_wake) noexcept;

    /// True once after committed() put a ring off; whoever asks then rings where it is wanted.
    [[nodiscard]] bool take_put_off() noexcept { return put_off_.exchange(false, std::memory_order_acq_rel); }
    [[nodiscard]] std::uint64_t rings() const noexcept { return rings_.load(std::memory_order_relaxed); }

private:
    [[nodiscard]] door* doors() const noexcept;
    void ring_if_set(std::uint32_t& flag, std::uint32_t& wake) noexcept;
    [[nodiscard]] static std::uint32_t door_of(std::uint32_t index) noexcept {
        return index < region_doors ? index + 1 : 0;
    }

    std::atomic<const std::byte*>& doors_;
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
