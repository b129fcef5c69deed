#include "tools/salvage/blocks.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace pmemstream::tools {

void divide_blocks(std::vector<found_region>& regions) {
    std::ranges::sort(regions, {}, &found_region::generation);
    std::map<std::uint64_t, std::uint64_t> taken;  // begin -> end
    for (auto region = regions.rbegin(); region != regions.rend(); ++region) {
        std::uint64_t at = region->extent;
        auto next = taken.upper_bound(at);
        if (next != taken.begin() && std::prev(next)->second > at)
            at = std::prev(next)->second;
        for (; at < region->extent_end(); ++next) {
            const std::uint64_t end =
                std::min(next == taken.end() ? region->extent_end() : next->first, region->extent_end());
            if (at < end)
                region->ranges.push_back({std::max(at, region->begin()), end});
            if (next == taken.end())
                break;
            at = std::max(at, next->second);
        }
        for (const auto& range : region->ranges)
            taken[range.begin == region->begin() ? region->extent : range.begin] = range.end;
    }
    // Of what no slot names, only what has blocks of its own left.
    std::erase_if(regions, [](const found_region& r) { return !r.slot && r.ranges.empty(); });
}

}  // namespace pmemstream::tools
