#pragma once

#include <cstdint>

// Numbered places at which the crash tests end the process with a real SIGKILL. The library that is installed is
// compiled without PMEMSTREAM_TEST_HOOKS: there the calls are empty and inline.
namespace pmemstream::base {

enum class kill_point : std::uint8_t {
    none,
    copy,               ///< half of the payload is in place
    before_commit,      ///< the entry is whole, the commit offset does not say so yet
    between_commits,    ///< the region's commit offset is stored, the stream's committed timestamp is not
    allocate_prepared,  ///< slot and extent are written, the state word is not
    allocate_done,
    free_begin,
    free_done,  ///< the state word says free, nothing is reused yet
    clear_marked,
    clear_emptied,
    table_segment_written,  ///< a further table segment is ready but not linked
    open_locked,
    open_recovered,   ///< recovered offsets are stored, identity and epoch are not
    open_identified,  ///< boot id and file identity are stored, the epoch is not
    open_done,
    close_persisted,   ///< everything is persisted, the stream is not marked clean
    flush_synced,      ///< entries are durable, the persisted offsets do not say so yet
    between_persists,  ///< a region's persisted timestamp is stored, its persisted offset is not
    count
};

#ifdef PMEMSTREAM_TEST_HOOKS
/// Dies here when the environment says PMEMSTREAM_KILL=POINT:N and this is the N-th time (1 = first) at that point.
void die_at(kill_point here) noexcept;
/// Who else wants to know of these places; null: nobody. Set while no stream is open.
inline void (*passing_kill_point)(kill_point here) = nullptr;
#else
inline void die_at(kill_point) noexcept {}
#endif

}  // namespace pmemstream::base
