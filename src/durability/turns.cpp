#include "src/durability/turns.hpp"

#include "ipc/futex.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <limits>

namespace pmemstream::durability {

using base::load_acquire;
using base::load_relaxed;
using base::mutant;
using base::mutated;

namespace {

constexpr std::uint64_t everybody = std::numeric_limits<std::uint64_t>::max();
constexpr auto for_ever = std::chrono::nanoseconds::max();
constexpr std::uint32_t skip_max = 63;

// The word: four times the number of turns that have ended, and how the next one stands. So it never holds the same value
// twice (but for 2^30 turns later), and the kernel lets nobody fall asleep on what has changed.
enum standing : std::uint32_t { open, gathering, taken };

constexpr standing standing_of(std::uint32_t word) noexcept {
    return static_cast<standing>(word % 4);
}
constexpr std::uint32_t turn_of(std::uint32_t word) noexcept {
    return word / 4;
}
constexpr std::uint32_t word_of(std::uint32_t turn, standing how) noexcept {
    return turn * 4 + how;
}

}  // namespace

bool turns::replace(std::uint32_t seen, std::uint32_t by) noexcept {
    // Who comes from now on, before the turn says whom it serves, was mostly there before it.
    if (standing_of(by) == taken)
        will_serve_.store(everybody, std::memory_order_release);
    return __atomic_compare_exchange_n(&word_, &seen, by, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

bool turns::try_begin() noexcept {
    const std::uint32_t seen = load_relaxed(word_);
    if (standing_of(seen) == taken || !replace(seen, word_of(turn_of(seen), taken)))
        return false;
    // Whoever was gathering has been served by nobody: it takes the next turn itself, or it could be overtaken for ever.
    if (standing_of(seen) == gathering)
        skip_.store(1, std::memory_order_relaxed);
    return true;
}

void turns::begin() noexcept {
    while (!try_begin()) {
        const std::uint32_t seen = load_acquire(word_);
        if (standing_of(seen) == taken)
            (void)sleep(seen, turn_of(seen) + 1, everybody, for_ever);
    }
}

bool turns::begin_or_sleep(std::uint64_t upto, const patience& how) noexcept {
    const std::uint32_t seen = load_acquire(word_);
    const std::uint32_t turn = turn_of(seen);
    switch (standing_of(seen)) {
        case open:
            return gather(seen, upto, how);
        case gathering:
            if (sleep(seen, turn, upto, how.limit) != slept::all_are_here || !replace(seen, word_of(turn, taken)))
                return false;
            skip_next_.store(0, std::memory_order_relaxed);
            return true;
        case taken:
            // Who is wrong about it is woken a turn too early, and sleeps again, or by the one that gets the next turn.
            (void)sleep(seen, will_serve_.load(std::memory_order_acquire) >= upto ? turn : turn + 1, upto, how.limit);
            return false;
    }
    return false;
}

bool turns::gather(std::uint32_t seen, std::uint64_t upto, const patience& how) noexcept {
    const std::uint32_t turn = turn_of(seen);
    const std::uint32_t skip = skip_.load(std::memory_order_relaxed);
    if (expected_.load(std::memory_order_relaxed) == 0 || skip > 0) {
        if (!replace(seen, word_of(turn, taken)))
            return false;
        skip_.store(std::max(skip, 1U) - 1, std::memory_order_relaxed);
        return true;
    }
    // From here on others may sleep without one that has the turn: until this one comes back, which has a limit.
    const std::uint32_t word = word_of(turn, gathering);
    if (!replace(seen, word))
        return false;
    const auto until = std::chrono::steady_clock::now() + std::min(how.limit, how.to_gather);
    slept how_it_slept = slept::until_woken;
    while (how_it_slept == slept::until_woken)  // by who did not know yet that somebody gathers
        how_it_slept = sleep(word, turn, upto, until - std::chrono::steady_clock::now());
    if (!replace(word, word_of(turn, taken)))
        return false;
    // A caller that has no time, or was served just before, says nothing of the others.
    if (how_it_slept != slept::all_are_here && (how.limit < how.to_gather || load_acquire(served_) >= upto))
        return true;
    const std::uint32_t next =
        how_it_slept == slept::all_are_here ? 0 : 2 * skip_next_.load(std::memory_order_relaxed) + 1;
    skip_next_.store(std::min(next, skip_max), std::memory_order_relaxed);
    skip_.store(std::min(next, skip_max), std::memory_order_relaxed);
    return true;
}

turns::slept turns::sleep(std::uint32_t seen, std::uint32_t turn, std::uint64_t upto,
                          std::chrono::nanoseconds limit) noexcept {
    auto& sleepers = sleepers_[turn % 2];
    // [D10] Counted, then a full barrier, then the last look at the word, which the kernel takes. Pairs with [D11].
    //       Without it: the turn ends unseen, nobody is woken, and the wait lasts for ever.
    std::uint32_t others = 0;
    if (!mutated(mutant::sleeper_not_counted))
        others = sleepers.fetch_add(1, std::memory_order_seq_cst);
    if (fenced_)
        std::atomic_thread_fence(std::memory_order_seq_cst);
    else
        ipc::membarrier();
    // Of those that gather, exactly one counts itself last.
    const bool all_are_here = standing_of(seen) == gathering && others >= expected_.load(std::memory_order_relaxed);
    slept how = all_are_here ? slept::all_are_here : slept::no_longer;
    if (!all_are_here && load_acquire(served_) < upto &&
        ipc::futex_wait_private(word_, seen, 1U << (turn % 2), limit) == ipc::futex_outcome::woken)
        how = slept::until_woken;
    if (!mutated(mutant::sleeper_not_counted))
        sleepers.fetch_sub(1, std::memory_order_relaxed);
    return how;
}

std::uint32_t turns::sleeping_for(std::uint32_t turn) const noexcept {
    return sleepers_[turn % 2].load(std::memory_order_relaxed);
}

void turns::wake(std::uint32_t turn, int count) noexcept {
    if (sleeping_for(turn) != 0)
        ipc::futex_wake_private(word_, 1U << (turn % 2), count);
}

void turns::end() noexcept {
    const std::uint32_t turn = turn_of(load_relaxed(word_));
    const auto sleeping = [&] { return sleeping_for(turn) + sleeping_for(turn + 1); };
    expected_.store(sleeping(), std::memory_order_relaxed);
    const auto move_word = [&] { base::store_release(word_, word_of(turn + 1, open)); };
    if (!mutated(mutant::sleepers_before_word))
        move_word();
    // [D11] The word moves, then a full barrier (by a fence, or by the sleeper's membarrier), then the look at who sleeps.
    //       Pairs with [D10]. Without it: as there.
    if (fenced_)
        std::atomic_thread_fence(std::memory_order_seq_cst);
    else
        std::atomic_signal_fence(std::memory_order_seq_cst);
    const bool somebody = sleeping() != 0;
    base::die_at(base::kill_point::turn_ends);
    if (mutated(mutant::sleepers_before_word))
        move_word();
    if (!somebody)
        return;
    wake(turn + 1, 1);
    wake(turn, std::numeric_limits<int>::max());
}

void turns::leave() noexcept {
    // Who sleeps while the turn is open has been woken, or waits for a turn that nobody has taken. There is no other who
    // would fall asleep unseen, for the word has moved.
    const std::uint32_t seen = load_acquire(word_);
    if (standing_of(seen) == open && !mutated(mutant::turn_not_passed_on))
        wake(turn_of(seen), 1);
}

}  // namespace pmemstream::durability
