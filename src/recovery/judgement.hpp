#pragma once

#include "src/format/layout.hpp"
#include "src/recovery/scan.hpp"
#include "src/recovery/trust.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/writer.hpp>

#include <cstdint>

// What an opening writer believes of one region, row by row. Stores nothing.
namespace pmemstream::core {

struct recovered_region {
    format::region_slot* slot = nullptr;
    std::uint32_t index = 0;
    std::uint64_t end_of_region = 0;
    std::uint64_t trusted = 0;  ///< the entries from there to `end` were found
    std::uint64_t end = 0;
    std::uint64_t sequence = 0;
    std::uint64_t given = 0;                  ///< no sequence in the region, committed or not, was greater
    std::uint64_t mark_offset = 0;            ///< of the newest mark before `end`, or 0
    std::uint64_t persisted_mark_offset = 0;  ///< the same before the persisted offset
    bool clearing = false;                    ///< it is to be emptied: the rest says nothing
};

/// Adds to `report` what was found, and what was cut. Errors: corrupt, unsupported_format (an entry that would be cut is
/// whole, and of a later version of the format).
[[nodiscard]] result<recovered_region> judge_region(const stream_file& file, format::region_slot& slot,
                                                    std::uint32_t index, const format::slot_cold& cold, trust row,
                                                    bool same_file, recovery_report& report);

/// What lies in a region from `offset` on; entries of any writer may count.
[[nodiscard]] scan_input bytes_behind(const stream_file& file, const format::slot_cold& cold, std::uint64_t offset);

}  // namespace pmemstream::core
