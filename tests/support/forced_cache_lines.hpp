#pragma once

#include <cstdlib>

namespace pmemstream::test {

/// Streams opened while this lives are taken for persistent memory that flushes cache lines.
class forced_cache_lines {
public:
    forced_cache_lines() { ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1); }
    ~forced_cache_lines() { ::unsetenv("PMEM2_FORCE_GRANULARITY"); }
    forced_cache_lines(const forced_cache_lines&) = delete;
    forced_cache_lines& operator=(const forced_cache_lines&) = delete;
};

}  // namespace pmemstream::test
