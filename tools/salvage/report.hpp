#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// A stretch of the file that did not come over.
struct left_range {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::string why;
};

/// So many of one region are told one by one; all are counted.
inline constexpr std::uint64_t left_per_region_max = 1000;

struct salvaged_region {
    std::string name;                        ///< in the new stream; empty for none
    std::string old_name;                    ///< differs where that was not known, or was another's too
    std::optional<std::uint32_t> slot = {};  ///< none: found by its extent header alone
    std::uint64_t generation = 0;
    std::uint64_t log = 0;  ///< id of the log that it belonged to, and its place in it; 0: not known
    std::uint32_t place = 0;
    std::uint64_t extent = 0;
    std::uint64_t extent_bytes = 0;
    std::uint64_t entries = 0;
    std::uint64_t batches = 0;
    std::uint64_t payload_bytes = 0;
    std::uint64_t old_first = 0;  ///< sequences
    std::uint64_t old_last = 0;
    std::uint64_t new_first = 0;
    std::uint64_t new_last = 0;
    bool gone = false;  ///< freed or cleared by a live writer meanwhile
    std::vector<left_range> left = {};
    std::uint64_t left_ranges = 0;
    std::uint64_t left_bytes = 0;

    void leave(std::uint64_t from, std::uint64_t to, std::string why) {
        if (from >= to)
            return;
        ++left_ranges;
        left_bytes += to - from;
        if (left.size() < left_per_region_max)
            left.push_back({from, to, std::move(why)});
    }
};

struct salvage_report {
    std::string stream;
    std::string out;
    std::array<std::byte, 16> uuid{};  ///< of the old stream
    std::uint64_t block_bytes = 0;
    std::uint64_t stream_bytes = 0;  ///< of the new one
    bool superblock_whole = true;
    bool table_whole = true;
    bool none_unknown = true;  ///< no entry is missing of which nothing is left to tell
    std::uint64_t unreadable_bytes = 0;
    std::vector<salvaged_region> regions = {};
    std::vector<std::string> notes = {};

    [[nodiscard]] bool left_any() const noexcept {
        for (const auto& region : regions)
            if (region.left_ranges > 0)
                return true;
        return false;
    }
    [[nodiscard]] bool all_came_over() const noexcept { return none_unknown && !left_any(); }
};

}  // namespace pmemstream::tools
