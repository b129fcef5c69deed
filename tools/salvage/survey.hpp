#pragma once

#include "src/format/layout.hpp"
#include "src/format/system_entry.hpp"
#include "tools/verify/entry_walk.hpp"
#include "tools/verify/media.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::tools {

struct byte_range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

/// A region that is to be salvaged, by its slot, its extent header or both.
struct found_region {
    std::optional<std::string> name = {};  ///< none: not known; empty: it has none
    std::optional<std::uint32_t> slot = {};
    std::uint64_t slot_offset = 0;
    std::uint64_t state_word = 0;  ///< of the slot
    std::uint64_t generation = 0;
    std::uint64_t extent = 0;
    std::uint64_t extent_bytes = 0;
    std::uint64_t first_sequence = 0;
    std::uint32_t unknown_flags = 0;                 ///< which this tool would have to know, to read the region
    std::optional<format::region_head> head = {};    ///< where it is whole
    bool emptied = false;                            ///< it was being cleared
    std::optional<std::uint64_t> end = {};           ///< of its entries, where that can be believed
    std::optional<std::uint64_t> end_at_least = {};  ///< else what the commit line says, if it makes sense
    persisted_place persisted = {};                  ///< where what a recovery cut can be told from the rest
    std::vector<byte_range> ranges = {};             ///< where its entries can lie: not where a younger region does

    [[nodiscard]] std::uint64_t begin() const noexcept { return extent + sizeof(format::extent_header); }
    [[nodiscard]] std::uint64_t extent_end() const noexcept { return extent + extent_bytes; }
};

/// What can be told of a stream, however damaged.
struct survey {
    std::array<std::byte, 16> uuid{};
    std::uint64_t block_bytes = 0;
    std::uint64_t stream_bytes = 0;           ///< 0: not known
    std::optional<std::uint64_t> epoch = {};  ///< of the header, where that can be read
    std::uint64_t sequence_max = 0;           ///< no entry has a greater one
    bool superblock_whole = true;
    bool table_whole = true;
    bool cut_short = false;                       ///< the file is shorter than the stream was
    bool all_regions_known = true;                ///< none is lost of which nothing is left to tell
    std::optional<std::uint64_t> committed = {};  ///< so many entries there ever were, where the header can be believed
    std::vector<found_region> regions = {};       ///< in order of generation
    std::vector<std::string> notes = {};
};

/// Reads the table and looks for extent headers at every block. Ends the tool when there is nothing of a stream.
[[nodiscard]] survey look_over(const media& from);

}  // namespace pmemstream::tools
