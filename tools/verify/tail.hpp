#pragma once

#include "tools/verify/entry_walk.hpp"
#include "tools/verify/report.hpp"

namespace pmemstream::tools {

/// Counts a whole entry.
void count(region_summary& to, const entry_walk::item& whole);

/// What a writer that opens a stream of state `rescan` would find behind a persisted offset, and where it would cut.
/// Counts what it would keep. `place` begins at the persisted offset and ends with the region.
void judge_tail(const media& from, walk_place place, std::size_t window_bytes, region_summary& to);

/// The same of a stream of state `process_died` whose pages were synced: what the last writer left behind a commit offset,
/// at which `place` begins. Nothing, where no whole entry begins there.
void judge_uncommitted(const media& from, walk_place place, std::size_t window_bytes, region_summary& to);

}  // namespace pmemstream::tools
