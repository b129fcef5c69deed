#pragma once

#include <pmemstream/detail/crc32_step.hpp>
#include <pmemstream/detail/entry_layout.hpp>
#include <pmemstream/detail/kill_point.hpp>
#include <pmemstream/types.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

// The usual case of an append, inlined into its caller: a call, with what it saves and hands over, would cost as much
// as the entry. Whatever is unusual is left to the library. Nothing here is for users, and it may change with any minor
// version. The format it writes is src/format's, which asserts that the two agree.
namespace pmemstream::detail {

/// What an append needs of a live region, at hand in one cache line.
struct alignas(64) append_region {
    std::uint64_t state = 0;               ///< the slot's state word while it is live, else 0
    std::uint64_t committed = 0;           ///< == the commit offset
    std::uint64_t limit = 0;               ///< where an entry may end: the region's end, 0 while a reservation is open
    std::uint64_t end = 0;                 ///< of the region
    std::uint64_t* commit_line = nullptr;  ///< in the slot: commit offset, sequence
    std::uint32_t crc_seed = 0;
    std::uint32_t door_offset = 0;  ///< of its flag, from the stream's: see ipc/doorbell.hpp
};

/// What an append needs of the writer.
struct append_state {
    append_region* regions = nullptr;  ///< by slot index
    /// So many of them may be appended to from here: all or none. None in a forked child, after closing, and where the
    /// processor or the kernel lacks something; none too when sequences may run out before a region is next opened, so
    /// that nobody has to compare them.
    std::uint32_t regions_inline = 0;
    std::byte* base = nullptr;                   ///< of the mapping
    const std::uint32_t* fault_state = nullptr;  ///< see src/base/fault_state.hpp
    std::uint64_t* stream_committed = nullptr;   ///< in the header
    /// The CRC of a header without anything but the epoch. As CRCs of one length add up (by exclusive or), it puts the
    /// epoch, which is always the same, and the final inversion into the CRC of any entry at once.
    std::uint64_t crc_of_epoch = 0;
    std::uint64_t epoch_bits = 0;  ///< of every entry's meta word
    std::uint64_t next_sequence = 1;
    std::atomic<const std::byte*> doors{nullptr};  ///< the stream's flag: see ipc/doorbell.hpp
    /// Copies a payload, and extends a CRC's register by it, in the fastest way that this processor has. Null: the library
    /// appends what is too long for the short ways.
    std::uint32_t (*copy_long)(std::uint32_t crc, void* to, const void* from, std::size_t bytes) noexcept = nullptr;
};

/// Payloads so long have their CRC from two chains.
inline constexpr std::size_t two_chains_bytes_min = 136;
/// And these from the widest registers, for which a call is worth it.
inline constexpr std::size_t long_bytes_min = 176;

[[nodiscard]] constexpr std::uint64_t live_state_word(region where) noexcept {
    return where.generation() << 8 | 0x35;
}

/// Everything of a commit but the look at the doorbell.
[[gnu::always_inline]] inline void store_commit(const append_state& state, append_region& region, std::uint64_t end,
                                                std::uint64_t newest, std::uint64_t newest_of_stream) noexcept {
    // Before the offset, so that after a kill between the two it is never too small: the next writer counts on from it.
    std::uint64_t* const line = region.commit_line;
    __atomic_store_n(&line[1], newest, __ATOMIC_RELAXED);
    base::die_at(base::kill_point::before_commit);
    // [V1] release. Pairs with the acquire [V2] in entry_walk.cpp: who sees the offset sees the bytes before it.
    //      Without it: a reader finds half an entry.
    __atomic_store_n(&line[0], end, __ATOMIC_RELEASE);
    base::die_at(base::kill_point::between_commits);
    // [V3] release. Pairs with the acquire [V4] in merged_cursor.cpp: who sees that sequence finds every entry up to
    //      it behind the regions' commit offsets. Without it: a merged cursor passes over an entry for ever.
    __atomic_store_n(state.stream_committed, newest_of_stream, __ATOMIC_RELEASE);
    region.committed = end;
}

/// After a commit store to a region whose door's flag is there: whether somebody who may sleep behind it, or behind the
/// stream's, is to be rung for. `Fenced`: the writer could not register for membarrier.
template <bool Fenced = false>
[[nodiscard, gnu::always_inline]] inline bool somebody_sleeps(const append_state& state,
                                                              std::uint32_t door_offset) noexcept {
    // [D4] The commit store is ordered before the load of the flags: by the sleeper's membarrier, which makes every
    //      running thread of this process pass a full barrier, or by the fence; only the compiler is left to be told.
    //      Pairs with [D2] in reader_control.cpp. Without it: writer and sleeper each miss the other's store.
    if constexpr (Fenced)
        std::atomic_thread_fence(std::memory_order_seq_cst);
    else
        std::atomic_signal_fence(std::memory_order_seq_cst);
    const std::byte* const stream = state.doors.load(std::memory_order_acquire);
    const auto flag = [](const std::byte* at) {
        return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(at), __ATOMIC_RELAXED);
    };
    return (flag(stream) | flag(stream + door_offset)) != 0;
}

#if defined(__x86_64__)
/// The last `bytes` (1 … 7) bytes of a payload of `payload_bytes`, zeros behind them. Never reads outside the payload.
[[nodiscard, gnu::always_inline]] inline std::uint64_t load_tail(const std::byte* payload, std::size_t payload_bytes,
                                                                 std::size_t bytes) noexcept {
    std::uint64_t word = 0;
    if (payload_bytes >= 8) {
        std::memcpy(&word, payload + payload_bytes - 8, sizeof word);
        return word >> (64 - 8 * bytes);
    }
    for (std::size_t i = 0; i < bytes; ++i)
        word |= std::to_integer<std::uint64_t>(payload[i]) << (8 * i);
    return word;
}
#endif

/// An entry that was appended and committed.
struct appended {
    std::uint64_t sequence = 0;     ///< 0: nothing was committed, and the library is to look at it
    std::uint32_t door_offset = 0;  ///< of its region
};

/// Appends and commits an entry. `padded_bytes`: the payload up to a multiple of 8. `copy` stores payload and padding
/// at the place that it is given, and extends the CRC's register that it is given by the payload.
template <class Copy>
[[nodiscard, gnu::always_inline]] inline appended append_one(append_state& state, region where, std::size_t bytes,
                                                             std::size_t padded_bytes, const Copy& copy) noexcept {
#if defined(__x86_64__)
    if (where.index() >= state.regions_inline) [[unlikely]]
        return {};
    append_region& to = state.regions[where.index()];
    const std::uint64_t offset = to.committed;
    const std::uint64_t end = offset + entry_header_bytes + padded_bytes;
    if (to.state != live_state_word(where) || end > to.limit) [[unlikely]]
        return {};
    std::byte* const entry = state.base + offset;
    std::uint64_t crc = copy(entry + entry_header_bytes, std::uint64_t{to.crc_seed});
    const std::uint64_t now = state.next_sequence;
    const std::uint64_t meta = now | state.epoch_bits;
    crc = crc32_step(crc, bytes);
    crc = crc32_step(crc, meta);
    crc = crc32_step(crc, offset);
    const std::uint64_t size_and_crc = bytes | (crc ^ state.crc_of_epoch) << 32;
    std::memcpy(entry, &size_and_crc, sizeof size_and_crc);
    std::memcpy(entry + 8, &meta, sizeof meta);
    // The very stores above may have met a page that is gone.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (__atomic_load_n(state.fault_state, __ATOMIC_RELAXED) != 0) [[unlikely]]
        return {};  // and the library takes back what is whole, and will not be committed
    state.next_sequence = now + 1;
    const std::uint32_t door_offset = to.door_offset;
    store_commit(state, to, end, now, now);
    return {now, door_offset};
#else
    (void)state, (void)where, (void)bytes, (void)padded_bytes, (void)copy;
    return {};
#endif
}

#if defined(__x86_64__)
/// Copies whole words, and extends the CRC's register by them. Two words are stored at once: stores are what an append
/// of this size has most of.
[[nodiscard, gnu::always_inline]] inline std::uint64_t copy_words(std::byte* to, const std::byte* from,
                                                                  std::size_t bytes, std::uint64_t crc) noexcept {
    std::size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
        if (i == bytes / 32 * 16)
            base::die_at(base::kill_point::copy);
        crc = crc32_step_at<8>(crc32_step_at<8>(crc, from + i), from + i + 8);
        std::memcpy(to + i, from + i, 16);
    }
    if (i < bytes) {
        if (i == 0)
            base::die_at(base::kill_point::copy);
        std::uint64_t word = 0;
        std::memcpy(&word, from + i, sizeof word);
        crc = crc32_step(crc, word);
        std::memcpy(to + i, &word, sizeof word);
    }
    return crc;
}

/// The same for 128 bytes and more: the CRCs of both halves at once, because a step has to wait for the one before, and
/// of a single chain this long the processor does not see far enough ahead to begin the next entry's meanwhile.
[[nodiscard, gnu::always_inline]] inline std::uint64_t copy_words_in_halves(std::byte* to, const std::byte* from,
                                                                            std::size_t bytes,
                                                                            std::uint64_t crc) noexcept {
    const std::size_t half = bytes / 32 * 16;
    std::uint64_t second = 0;
    std::size_t i = 0;
    const auto both = [&](std::uint64_t & state, std::size_t at) __attribute__((always_inline)) {
        state = crc32_step_at<8>(crc32_step_at<8>(state, from + at), from + at + 8);
        std::memcpy(to + at, from + at, 16);
    };
    for (; i < half; i += 16) {
        both(crc, i);
        both(second, half + i);
    }
    base::die_at(base::kill_point::copy);
    for (i += half; i < bytes; i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, from + i, sizeof word);
        second = crc32_step(second, word);
        std::memcpy(to + i, &word, sizeof word);
    }
    return crc32_moved_on(crc, bytes - half) ^ second;
}

/// append_one() of a short payload, the checksum of whose words is copy_words()'s. `Tails`: also of one that is not whole
/// words.
template <bool Tails, class CopyWords>
[[nodiscard, gnu::always_inline]] inline appended append_words(append_state& state, region where,
                                                               const std::byte* payload, std::size_t bytes,
                                                               const CopyWords& copy_words) noexcept {
    const std::size_t words_bytes = bytes & ~std::size_t{7};
    const std::size_t tail_bytes = Tails ? bytes & 7 : 0;
    return append_one(
        state, where, bytes,
        words_bytes + (tail_bytes != 0 ? 8 : 0), [&](std::byte * to, std::uint64_t crc) __attribute__((always_inline)) {
            crc = copy_words(to, payload, words_bytes, crc);
            if (tail_bytes != 0) {
                const std::uint64_t word = load_tail(payload, bytes, tail_bytes);
                crc = crc32_step_partial(crc, word, tail_bytes);
                std::memcpy(to + words_bytes, &word, sizeof word);
            }
            return crc;
        });
}

/// append_one() of any other. A function of its own, in the caller's program: inlined as well, it would take registers from
/// the shorter ones, which then cost a third more in some loops.
template <bool Tails>
[[nodiscard, gnu::noinline]] appended append_longer(append_state& state, region where, const std::byte* payload,
                                                    std::size_t bytes) noexcept {
    if (bytes < long_bytes_min)
        return append_words<Tails>(state, where, payload, bytes, copy_words_in_halves);
    if (bytes > payload_bytes_max || state.copy_long == nullptr)
        return {};
    const std::size_t words_bytes = bytes & ~std::size_t{7};
    const bool has_tail = Tails && words_bytes != bytes;
    return append_one(
        state, where, bytes,
        words_bytes + (has_tail ? 8 : 0), [&](std::byte * to, std::uint64_t crc) __attribute__((always_inline)) {
            if (has_tail)
                std::memset(to + words_bytes, 0, 8);
            return std::uint64_t{state.copy_long(static_cast<std::uint32_t>(crc), to, payload, bytes)};
        });
}
#endif

/// append_one() of a payload. `Tails`: also of one that is not whole words.
template <bool Tails>
[[nodiscard, gnu::always_inline]] inline appended append_payload(append_state& state, region where,
                                                                 const std::byte* payload, std::size_t bytes) noexcept {
#if defined(__x86_64__)
    if (!Tails && (bytes & 7) != 0) [[unlikely]]
        return {};
    if (bytes >= two_chains_bytes_min) [[unlikely]]
        return append_longer<Tails>(state, where, payload, bytes);
    return append_words<Tails>(state, where, payload, bytes, copy_words);
#else
    (void)state, (void)where, (void)payload, (void)bytes;
    return {};
#endif
}

}  // namespace pmemstream::detail
