#pragma once

#include "tests/crash/fuse/watched_fs.hpp"

namespace pmemstream::test {

/// Where a number written to the log is no mark: its low half is what writes to files are answered with from now on, if
/// they begin below its high half.
inline constexpr long refusal_offset = 8;

/// The serving side of a watched_fs: one directory of files in memory. Mounts it at `directory`, calls `mounted` and
/// serves until it is unmounted. Returns an exit code; what went wrong before is on standard error.
int serve_memory_files(const char* directory, const record_pipe& mounted);

}  // namespace pmemstream::test
