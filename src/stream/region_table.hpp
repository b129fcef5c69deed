#pragma once

#include "src/format/layout.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>
#include <pmemstream/types.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace pmemstream::core {

/// Where the slots lie: the segments of the table, followed link by link.
/// Thread safety: none.
class region_table {
public:
    struct segment {
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };

    /// Follows the links from where it stopped the last time. Errors: corrupt.
    [[nodiscard]] result<void> refresh(const stream_file& file);

    [[nodiscard]] std::uint32_t slots() const noexcept { return static_cast<std::uint32_t>(slots_.size()); }
    [[nodiscard]] format::region_slot& slot(std::uint32_t index) const noexcept { return *slots_[index]; }
    [[nodiscard]] const std::vector<segment>& segments() const noexcept { return segments_; }

private:
    std::vector<format::region_slot*> slots_;
    std::vector<segment> segments_;
};

/// A copy of a slot's cold part, all of one moment and checked, and with it how the region's extent begins (header and
/// head); nothing when the slot is free. `live_only`: nothing
/// too while the region is being cleared. Errors: corrupt, unsupported_format.
[[nodiscard]] result<std::optional<format::slot_cold>> read_cold(const stream_file& file,
                                                                 const format::region_slot& slot, std::uint32_t index,
                                                                 bool live_only);

/// What a live slot says of its region; nothing when it changed hands meanwhile. After a clean close, committed and
/// persisted must agree. Errors: corrupt.
[[nodiscard]] result<std::optional<region_info>> read_region(const stream_file& file, const format::region_slot& slot,
                                                             std::uint32_t index, const format::slot_cold& cold);

/// The epoch whose writer closed the stream in order, if no other has opened it since; else 0 (also for a stream that
/// no writer has opened yet). Words that are read between two equal answers are those of a clean stream.
[[nodiscard]] std::uint64_t clean_epoch(const format::shared_header& header) noexcept;

/// The error of a handle whose region is no more.
[[nodiscard]] tl::unexpected<error> gone_region(const stream_file& file, region where);

/// The region a handle names. Errors: region_gone, corrupt.
[[nodiscard]] result<region_info> describe_region(const stream_file& file, const region_table& table, region where);

/// What a region was allocated with. Errors: region_gone, corrupt, unsupported_format.
[[nodiscard]] result<region_attributes> describe_attributes(const stream_file& file, const region_table& table,
                                                            region where);

/// All regions in order of allocation. Errors: corrupt.
[[nodiscard]] result<std::vector<region_info>> list_regions(const stream_file& file, const region_table& table);

/// The live region of that name, of a log the newest. Errors: not_found, corrupt (not found, and a damaged slot may be the one).
[[nodiscard]] result<region> find_region(const stream_file& file, const region_table& table, std::string_view name);

/// How messages call a region: by its name, where that can be printed as it is, and its slot.
[[nodiscard]] std::string region_text(const format::slot_cold& cold, std::uint32_t index);

/// What was checked at open and never changes.
[[nodiscard]] stream_info describe_superblock(const stream_file& file);
/// Everything but the moving parts that only a writer knows better.
[[nodiscard]] stream_info describe_stream(const stream_file& file, const region_table& table);

}  // namespace pmemstream::core
