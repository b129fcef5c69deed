#pragma once

#include <cstdint>

// Faults that the tests put into the library on purpose, to see that they would notice: each leaves out, or does
// in another order, what a label of docs/ordering.md or a field of the format is there for. The library that is
// installed is compiled without PMEMSTREAM_TEST_HOOKS: there nothing is ever mutated, and the branches go.
namespace pmemstream::base {

enum class mutant : std::uint8_t {
    none,
    magic_first,               ///< P1: the magic is stored with everything else
    magic_ignored,             ///< P2
    segment_not_durable,       ///< P3: linked before it is flushed
    link_ignored,              ///< P4
    end_not_zeroed,            ///< P5: what was cut stays
    zeros_not_durable,         ///< P5: zeroed, and not flushed
    slot_not_durable,          ///< P7: "live" is stored before slot and extent are flushed
    extent_not_durable,        ///< P7: the extent alone
    entries_not_durable,       ///< P9: the persisted offset moves before the flush
    scan_from_commit,          ///< P10: a rescan begins at the commit offset
    identity_first,            ///< P11: boot id and file before the recovered offsets
    identity_ignored,          ///< P12: commit offsets are believed of any boot and file
    epoch_not_durable,         ///< P13
    epoch_order_ignored,       ///< P14: the scan takes entries of any epoch
    clean_first,               ///< P15: marked clean before everything is persisted
    clean_for_ever,            ///< P16: clean if any writer ever closed
    table_not_flushed,         ///< P17: an opening builds on words that only memory has
    sequence_not_durable,      ///< P19: a region is freed before its sequences are durable elsewhere
    header_sequences_ignored,  ///< P20
    state_not_durable,         ///< free() and clear() return before the state word is durable
    generation_not_in_crc,
    uuid_not_in_crc,
    epoch_high_bits_not_in_crc,
    features_not_durable,      ///< P23, P24: a feature's flag is not flushed before the epoch of its first writer
    persisted_epoch_ignored,   ///< entries behind the persisted offset may be older than who stored it
    zeros_passed_over,         ///< P6: the scan looks for an entry behind zeros
    commit_offsets_believed,   ///< of pages, whatever lies behind them
    state_word_ignored,        ///< P18: a freed slot is taken for live
    header_taken_for_durable,  ///< P21: what was copied past the caches begins with the entry
    tail_taken_for_durable,    ///< P22: what follows it is not flushed
    // What readers beside a writer notice: tests/order. Those before lose power: tests/crash/enumerator.
    offset_before_entry,       ///< V1: the commit offset moves first
    entry_before_offset,       ///< V2: a cursor reads the header before it looks how far it may read
    sequence_before_offset,    ///< V3: the stream's committed sequence moves before the region's offset
    regions_before_sequence,   ///< V4: a merged cursor looks at the regions before the stream's sequence
    reuse_before_end,          ///< V5: blocks are overwritten while the state word still says that they are a region's
    validity_before_payload,   ///< V6: asked whether the bytes are an entry's before they are copied
    validity_before_header,    ///< V7: the same of a header
    persisted_sequence_first,  ///< V8: the stream's persisted sequence moves before the regions' offsets
    persisted_word_before_entry,   ///< V9: the persisted offset covers what is not committed yet
    copy_not_fenced,               ///< V10: the commit offset overtakes what was copied past the caches
    fields_before_state_word,      ///< P8: what a slot says is read before its state word
    features_not_looked_at_again,  ///< V11, V12: a cursor takes the features for those that it was opened with
    // What sleepers notice: tests/order/doorbell_test.cpp.
    word_after_flag,       ///< D1: the wake word is read when the flag stands
    flag_after_look,       ///< D2: the flag is visible only after the last look
    no_last_look,          ///< D3
    flags_before_commit,   ///< D4: the flags are looked at before the commit store
    flags_before_persist,  ///< D4: the same of the persisted horizon
    word_before_flag,      ///< D5: the wake word moves before the flag falls
    wake_before_word,      ///< D6: sleepers are woken before the wake word moves
    nonce_not_compared,    ///< D7: a sleeper does not look whether there is a new control file
    doors_last,            ///< D8: the appender looks at a new control file when everybody knows of it
    ring_before_nonce,     ///< D9: everybody is rung for before the nonce is published
    // What threads that wait for a flush notice: tests/threads/turns_test.cpp.
    sleeper_not_counted,   ///< D10: a thread sleeps uncounted
    sleepers_before_word,  ///< D11: the end of a turn looks for sleepers before it can be seen
    turn_not_passed_on,    ///< whoever was woken to take the turn, and need not, wakes no other
    // What a dead writer left of a sync that was refused: tests/crash/fuse/refused_write_test.cpp.
    clean_pages_believed,  ///< that is not stored again
    count
};

#ifdef PMEMSTREAM_TEST_HOOKS
/// The one that is at work. Set while no stream is open.
inline mutant active_mutant = mutant::none;
[[nodiscard]] inline bool mutated(mutant m) noexcept {
    return active_mutant == m;
}
/// Any of them is.
[[nodiscard]] inline bool mutated() noexcept {
    return active_mutant != mutant::none;
}
#else
[[nodiscard]] constexpr bool mutated(mutant) noexcept {
    return false;
}
[[nodiscard]] constexpr bool mutated() noexcept {
    return false;
}
#endif

}  // namespace pmemstream::base
