#pragma once

#include "src/format/layout.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>
#include <pmemstream/types.hpp>

#include <cstdint>
#include <map>
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

/// A copy of a slot's cold part, all of one moment and checked; nothing when the slot is free. `live_only`: nothing
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

/// The region a handle names. Errors: region_gone, corrupt.
[[nodiscard]] result<region_info> describe_region(const stream_file& file, const region_table& table, region where);

/// All regions in order of allocation. Errors: corrupt.
[[nodiscard]] result<std::vector<region_info>> list_regions(const stream_file& file, const region_table& table);

/// The live region of that name. Errors: not_found, corrupt (not found, and a damaged slot may be the one).
[[nodiscard]] result<region> find_region(const stream_file& file, const region_table& table, std::string_view name);

/// How messages call a region: by its name, where that can be printed as it is, and its slot.
[[nodiscard]] std::string region_text(const format::slot_cold& cold, std::uint32_t index);

/// What of the file is taken, by offset. Errors: corrupt where two overlap.
class free_space {
public:
    free_space(std::uint64_t begin, std::uint64_t end);
    /// False if any of it is taken already.
    [[nodiscard]] bool take(std::uint64_t offset, std::uint64_t bytes);
    /// The first run that is long enough.
    [[nodiscard]] std::optional<std::uint64_t> find(std::uint64_t bytes) const;
    void give_back(std::uint64_t offset, std::uint64_t bytes);

    [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& runs() const noexcept { return runs_; }
    [[nodiscard]] std::uint64_t free_bytes() const noexcept;
    [[nodiscard]] std::uint64_t largest_bytes() const noexcept;

private:
    std::map<std::uint64_t, std::uint64_t> runs_;  // offset -> bytes, never adjacent
};

/// Free is what no slot and no table segment covers. Errors: corrupt.
[[nodiscard]] result<free_space> compute_free_space(const stream_file& file, const region_table& table);

/// Every byte of the file and what it is used for, in order of offset. Errors: corrupt.
[[nodiscard]] result<std::vector<extent_info>> list_extents(const stream_file& file, const region_table& table);

/// What was checked at open and never changes.
[[nodiscard]] stream_info describe_superblock(const stream_file& file);
/// Everything but the moving parts that only a writer knows better.
[[nodiscard]] stream_info describe_stream(const stream_file& file, const region_table& table);

}  // namespace pmemstream::core
