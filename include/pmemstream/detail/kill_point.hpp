#pragma once

#include <cstdint>

// Numbered places at which tests step in: the crash tests end the process there with a real SIGKILL, and the tests of the
// order in which writer and readers do things let the other side act in between. The library that is installed is compiled
// without PMEMSTREAM_TEST_HOOKS: there the calls are empty and inline.
namespace pmemstream::base {

enum class kill_point : std::uint8_t {
    none,
    copy,               ///< half of the payload is in place
    before_commit,      ///< the entry is whole, the commit offset does not say so yet
    between_commits,    ///< the region's commit offset is stored, the stream's committed sequence is not
    allocate_prepared,  ///< slot and extent are written, the state word is not
    allocate_done,
    free_begin,
    free_done,  ///< the state word says free, nothing is reused yet
    clear_marked,
    clear_emptied,
    table_segment_written,  ///< a further table segment is ready but not linked
    open_locked,
    open_recovered,       ///< recovered offsets are stored, epoch and identity are not
    open_epoch_stored,    ///< the epoch is stored, boot id and file identity are not
    open_feature_raised,  ///< a feature's flag is stored, and the next one's is not, nor the epoch
    open_lineage_begun,   ///< a copy keeps the lineage that it had, and has no other yet
    open_done,
    close_persisted,   ///< everything is persisted, the stream is not marked clean
    flush_synced,      ///< entries are durable, the persisted offsets do not say so yet
    between_persists,  ///< a region's persisted sequence is stored, its persisted offset is not
    count,             ///< of those at which a writer is killed
    free_ending,       ///< about to end the generation
    cursor_looks,      ///< about to load how far a cursor may read
    header_read,       ///< a cursor has read an entry's header, and not yet whether it is the entry's
    payload_copied,    ///< the same of a payload
    regions_read,      ///< a merged cursor has looked at every region
    turn_ends,         ///< a flusher's turn has looked at who sleeps, and wakes nobody yet
    control_taken,     ///< a sleeper has its control file, and has not read the wake word
    word_read,         ///< it has, and has not set its flag
    flag_set,          ///< it has, and has not looked again
    falls_asleep,      ///< it has, and does not sleep yet
    word_moves,        ///< whoever rings is between the flag and the wake word
    sleepers_wake,     ///< the same between the wake word and the wake
    control_renewed,   ///< the writer is between a new control file and its nonce
    control_named,     ///< the same between the nonce and the ring for everybody
    sync_refused,      ///< the system has refused a sync, and nobody else knows
    reader_pauses,     ///< wait() lets the writer get ahead
    slot_read,         ///< a slot's fields are copied, and not yet known to be of one generation
};

#ifdef PMEMSTREAM_TEST_HOOKS
/// Dies here when the environment says PMEMSTREAM_KILL=POINT:N and this is the N-th time (1 = first) at that point.
void die_at(kill_point here) noexcept;
/// Called at every point; null: nobody. Set while no other thread runs in the library.
inline void (*stepping_in)(kill_point here) = nullptr;
/// A fault put in on purpose (src/base/mutant.hpp): a cursor's inlined step looks at the state word before the header.
[[nodiscard]] bool state_word_first() noexcept;
#else
inline void die_at(kill_point) noexcept {}
[[nodiscard]] constexpr bool state_word_first() noexcept {
    return false;
}
#endif

}  // namespace pmemstream::base
