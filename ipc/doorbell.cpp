#include "ipc/doorbell.hpp"

#include "ipc/futex.hpp"
#include "src/base/mapped.hpp"
#include "src/base/step_order.hpp"

#include <algorithm>

namespace pmemstream::ipc {

using base::kill_point;
using base::mutant;

namespace {

// Looked at while there is no control file: nobody can set a flag in it.
door nobody[1 + region_doors];

// A flag that comes back although nobody slept behind it (a reader found its entry before it slept, or somebody
// scribbles in the control file) would cost a system call per append. After so many in a row, rings keep a distance.
constexpr unsigned vain_rings_max = 64;
constexpr auto vain_distance = std::chrono::microseconds(50);

}  // namespace

doorbell::doorbell(std::uint32_t& stream_wake, std::atomic<const std::byte*>& doors, bool fenced) noexcept
    : doors_(doors), fenced_(fenced), stream_wake_(stream_wake) {
    use(nullptr);
}

door* doorbell::doors() const noexcept {
    return const_cast<door*>(reinterpret_cast<const door*>(doors_.load(std::memory_order_acquire)));
}

void doorbell::use(std::shared_ptr<control_file> control) {
    // [D8] The appending thread looks at the new flags before any reader can learn the nonce of the new file: the nonce
    //      is stored after this. Pairs with [D7] in reader_control.cpp. Without it: a reader attaches, sets a new flag,
    //      and the appender checks an old one.
    const door* const stream = control ? &control->layout().stream : nobody;
    doors_.store(reinterpret_cast<const std::byte*>(stream), std::memory_order_release);
    const std::lock_guard lock(mutex_);
    if (control)
        used_.push_back(std::move(control));
}

std::shared_ptr<control_file> doorbell::control() const {
    const std::lock_guard lock(mutex_);
    return used_.empty() ? nullptr : used_.back();
}

void doorbell::ring(std::uint32_t& wake) noexcept {
    // [D6] The word moves before the wake. Pairs with [D3] in reader_control.cpp.
    //      Without it: a reader between its last look and its sleep falls asleep on the old value after the wake has
    //      passed.
    base::in_order(
        mutant::wake_before_word, kill_point::sleepers_wake,
        [&wake] { __atomic_fetch_add(&wake, 1u, __ATOMIC_ACQ_REL); },
        [this, &wake] {
            woken_.fetch_add(static_cast<unsigned>(std::max(futex_wake_all(wake), 0)), std::memory_order_relaxed);
        });
    rings_.fetch_add(1, std::memory_order_relaxed);
}

void doorbell::ring_if_set(std::uint32_t& flag, std::uint32_t& wake) noexcept {
    if (base::load_relaxed(flag) == 0)
        return;
    // [D5] The flag falls before the word moves. Pairs with [D1] in reader_control.cpp.
    //      Without it: a reader that has read the new word sets the flag, loses it to this store, and is never rung
    //      for.
    base::in_order(
        mutant::word_before_flag, kill_point::word_moves, [&flag] { base::store_relaxed(flag, 0u); },
        [this, &wake] { ring(wake); });
}

void doorbell::ring_where_wanted(std::uint32_t index, std::uint32_t& region_wake) noexcept {
    door* const doors = this->doors();
    if (const std::uint32_t own = door_of(index); own != 0)
        ring_if_set(doors[own].committed, region_wake);
    ring_if_set(doors[0].committed, stream_wake_);
}

void doorbell::ring_persisted(std::uint32_t index, std::uint32_t& region_wake, std::uint32_t& stream_wake) noexcept {
    // As [D4] in append.hpp, for the persisted horizon.
    if (fenced_)
        std::atomic_thread_fence(std::memory_order_seq_cst);
    else
        std::atomic_signal_fence(std::memory_order_seq_cst);
    door* const doors = this->doors();
    if (const std::uint32_t own = door_of(index); own != 0)
        ring_if_set(doors[own].persisted, region_wake);
    ring_if_set(doors[0].persisted, stream_wake);
}

void doorbell::ring_from_append(std::uint32_t index, std::uint32_t& region_wake) noexcept {
    if (vain_rings_ >= vain_rings_max) {
        const auto now = std::chrono::steady_clock::now();
        if (now - last_ring_ < vain_distance) {
            put_off_.store(true, std::memory_order_release);
            return;
        }
        last_ring_ = now;
    }
    const unsigned woken_before = woken_.load(std::memory_order_relaxed);
    ring_where_wanted(index, region_wake);
    vain_rings_ = woken_.load(std::memory_order_relaxed) == woken_before ? vain_rings_ + 1 : 0;
}

}  // namespace pmemstream::ipc
