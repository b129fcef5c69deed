#pragma once

#include <pmemstream/detail/crc32_step.hpp>
#include <pmemstream/detail/entry_layout.hpp>
#include <pmemstream/detail/kill_point.hpp>

#include <cstddef>
#include <cstdint>

// The usual case of a cursor's step, inlined into its caller: a call, which hands the entry over in memory, would cost
// half as much as the entry. Whatever is unusual is left to the library. Nothing here is for users, and it may change
// with any minor version.
namespace pmemstream::detail {

/// A generation of a region as entries need it; lives as long as the mapping.
struct generation_view {
    const std::byte* file = nullptr;            ///< the mapping
    const std::uint64_t* state_word = nullptr;  ///< of the region's slot
    std::uint64_t state = 0;                    ///< what it says while the generation lives
    const std::uint32_t* faulted = nullptr;     ///< nonzero once part of the mapping is lost
    std::uint32_t region_index = 0;
};

/// Which steps need no closer look than usual_step() has.
enum class usual : std::uint8_t {
    none,     ///< none do: there is a floor, or the stream is distrusted
    plain,    ///< CRCs are not checked
    checked,  ///< they are
    chained,  ///< they are, and the processor has an instruction for those of short payloads
};

/// What a step needs: a merged cursor has many of these, which all have to stay in the first cache.
struct alignas(64) step_state {
    const std::byte* file = nullptr;  ///< the mapping
    std::uint64_t position = 0;       ///< of the next entry
    std::uint64_t limit = 0;          ///< an end of entries that was checked
    std::uint64_t last = 0;           ///< sequence of the entry that was stepped over last
    const std::uint64_t* state_word = nullptr;
    std::uint64_t state = 0;
    const generation_view* view = nullptr;
    std::uint64_t* shown_up_to = nullptr;  ///< where a registered cursor says how far it is
    // Of the entry that was stepped over last, where it is kept to be shown later.
    const std::byte* payload = nullptr;
    std::uint32_t payload_bytes = 0;
    usual way = usual::none;
    std::uint32_t crc_seed = 0;
    // Of the entry whose CRC the library checked last; the next one's is likely the same.
    std::uint32_t crc_of_epoch = 0;
    std::uint64_t epoch_bits = ~std::uint64_t{0};
};

/// Longer payloads are read faster by a call: 256 bytes take 15.4 ns instead of 20.
inline constexpr std::uint32_t chained_bytes_max = 192;

/// The parts of an entry that was stepped over, from which an `entry` is made where it is wanted: copying one costs as much
/// as the step, and so does reading from the state what was stored just before in other pieces.
struct stepped {
    const std::byte* payload = nullptr;  ///< null: nothing was stepped over
    const generation_view* view = nullptr;
    std::uint64_t sequence = 0;
    std::uint32_t payload_bytes = 0;
};

/// Steps over the next entry: nothing, and nothing done, where anything needs a closer look. `Way`: plain, checked or
/// chained. `crc_of` extends a register by a payload and three values.
template <usual Way, class Crc>
[[nodiscard, gnu::always_inline]] inline stepped usual_step(step_state& at, const Crc& crc_of) noexcept {
    const std::uint64_t position = at.position;
    const std::uint64_t room = at.limit - position;
    if (room < entry_header_bytes || (Way == usual::checked ? at.way < Way : at.way != Way))
        return {};
    const std::byte* const header = at.file + position;
    const auto is_ours = [&at] { return __atomic_load_n(at.state_word, __ATOMIC_RELAXED) == at.state; };
    const bool ours_early = base::state_word_first() && is_ours();
    const auto load32 = [&](std::size_t where) {
        return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(header + where), __ATOMIC_RELAXED);
    };
    const std::uint32_t payload_bytes = load32(0);
    const std::uint64_t meta = __atomic_load_n(reinterpret_cast<const std::uint64_t*>(header + 8), __ATOMIC_RELAXED);
    base::die_at(base::kill_point::header_read);
    const std::uint64_t bytes = entry_bytes(payload_bytes);
    if (bytes > room || (Way == usual::chained && payload_bytes > chained_bytes_max))
        return {};
    const std::byte* const payload = header + entry_header_bytes;
    if constexpr (Way == usual::chained)
        __builtin_prefetch(payload + 512);  // 0.3 ns of 6; where longer entries are met as well it would cost more
    // Nothing but this comparison waits for the CRC: those of neighbouring entries overlap.
    if (Way != usual::plain &&
        (crc_of(at.crc_seed, payload, payload_bytes, meta, position) ^ load32(4)) != at.crc_of_epoch)
        return {};
    // One comparison for the bits that are always zero and, where it matters, the epoch.
    const std::uint64_t sequence = meta & meta_sequence_mask;
    const bool is_usual = Way == usual::plain ? (meta & (meta_reserved_mask | meta_filler_bit)) == 0
                                              : (meta & ~(meta_sequence_mask | meta_more_bit)) == at.epoch_bits;
    if (!is_usual || sequence <= at.last)
        return {};
    // [V7] acquire; the header was read before the state word. Pairs with [V5] in region_allocation.cpp.
    //      Without it: an entry of a later use of the blocks is shown as one of this region.
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!ours_early && !is_ours())
        return {};
    at.position = position + bytes;
    at.last = sequence;
    return {payload, at.view, sequence, payload_bytes};
}

/// The step of a cursor that checks no CRCs.
[[nodiscard, gnu::always_inline]] inline stepped plain_step(step_state& at) noexcept {
    return usual_step<usual::plain>(at, [](auto&&...) { return std::uint32_t{0}; });
}

/// The step of one that does, over a short payload.
[[nodiscard, gnu::always_inline]] inline stepped chained_step(step_state& at) noexcept {
#if defined(__x86_64__)
    return usual_step<usual::chained>(
        at, [](std::uint32_t seed, const std::byte* payload, std::uint32_t bytes, std::uint64_t meta,
               std::uint64_t position) { return crc32_chain(seed, payload, bytes, bytes, meta, position); });
#else
    (void)at;
    return {};
#endif
}

}  // namespace pmemstream::detail
