#pragma once

#include "src/format/layout.hpp"
#include "tools/verify/media.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace pmemstream::tools {

/// What a look at every block brings to light.
struct scan_result {
    std::vector<format::extent_header> extents = {};  ///< in order of offset; each where it says that it is
    std::map<std::uint64_t, format::segment_header> segments = {};  ///< all but the first
    std::uint64_t lowest_extent = 0;
    std::uint64_t block_bytes = 0;  ///< the largest that all of it fits
};

/// Looks at each multiple of `step`. Without a UUID, takes that of most extent headers.
[[nodiscard]] scan_result scan_blocks(const media& from, std::uint64_t step,
                                      const std::optional<std::array<std::byte, 16>>& uuid);

}  // namespace pmemstream::tools
