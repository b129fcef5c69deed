#pragma once

#include <pmemstream/detail/entry_layout.hpp>
#include <pmemstream/detail/sequence_ring.hpp>
#include <pmemstream/detail/step.hpp>

#include <cstddef>
#include <cstdint>

// As step.hpp, of a merged cursor. Not for users.
namespace pmemstream::detail {

/// What a merged cursor needs for an entry that is its region's head, and behind which the region has another.
struct merge_state {
    sequence_ring ring;                      ///< of the heads
    std::uint64_t show_up_to = 0;            ///< sequences beyond it need a closer look
    std::uint64_t last = 0;                  ///< sequence of the entry that was shown last
    const std::uint32_t* faulted = nullptr;  ///< nonzero once part of the mapping is lost
    std::uint64_t* shown_up_to = nullptr;    ///< where a registered cursor says how far it is
    step_state* refused = nullptr;           ///< whose head has another's sequence: the library sees to it
};

/// Asks for two lines that will be read in a while: where an entry begins two behind this one, if they are alike, or at
/// least 512 bytes on. Nothing that the entry itself contains may decide where, for it may be waited for.
[[gnu::always_inline]] inline void prefetch_behind(const std::byte* payload, std::uint32_t usual_bytes) noexcept {
    const std::uint64_t bytes = 2 * entry_bytes(usual_bytes);
    const std::byte* const ahead = payload + (bytes < 512 ? 512 : bytes);
    __builtin_prefetch(ahead);
    __builtin_prefetch(ahead + 64);
}

/// Gives the least head of all, in whose place its region's next entry comes, which `step` steps to: nothing, and nothing
/// done, where anything needs a closer look.
template <class Step>
[[nodiscard, gnu::always_inline]] inline stepped merge_step(merge_state& merge, const Step& step) noexcept {
    const std::uint64_t now = merge.ring.next();
    step_state* const from = merge.ring.at(now);
    if (now > merge.show_up_to || from == nullptr)
        return {};
    const stepped head{from->payload, from->view, now, from->payload_bytes};
    // A step that finds its region alive has found the head valid, if nothing of the mapping is lost.
    if (__atomic_load_n(merge.faulted, __ATOMIC_RELAXED) != 0)
        return {};
    const stepped next = step(*from);
    if (next.payload == nullptr)
        return {};
    prefetch_behind(next.payload, head.payload_bytes);
    from->payload = next.payload;
    from->payload_bytes = next.payload_bytes;
    merge.last = now;
    merge.ring.pass_to(now + 1);
    if (!merge.ring.put(next.sequence, from)) [[unlikely]] {
        merge.refused = from;
        merge.show_up_to = 0;
    }
    if (merge.shown_up_to != nullptr)
        __atomic_store_n(merge.shown_up_to, now, __ATOMIC_RELAXED);
    return head;
}

}  // namespace pmemstream::detail
