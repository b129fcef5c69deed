#include "tools/salvage/survey.hpp"

#include "src/base/checked.hpp"
#include "src/format/features.hpp"
#include "src/format/rescan.hpp"
#include "src/format/validate.hpp"
#include "tools/common/exit_code.hpp"
#include "tools/salvage/blocks.hpp"
#include "tools/salvage/heads.hpp"
#include "tools/salvage/scan.hpp"
#include "tools/salvage/table_account.hpp"
#include "tools/verify/snapshot.hpp"
#include "tools/verify/tail.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <limits>
#include <map>
#include <set>

namespace pmemstream::tools {

namespace {

class surveyor {
public:
    explicit surveyor(const media& from) : from_(from) {}

    survey look() {
        read_superblock();
        read_header();
        read_table();
        const std::size_t unexplained = match_damaged_slots();
        take_unclaimed(unexplained);
        seen_.all_regions_known = seen_.table_whole || (!seen_.cut_short && account_.is_for_all());
        divide_blocks(seen_.regions);
        read_heads(from_, seen_);
        return std::move(seen_);
    }

private:
    struct lost_slot {
        std::uint32_t index;
        std::uint64_t offset;
        std::optional<format::region_slot> slot;
    };

    void read_superblock() {
        std::vector<std::byte> sector(std::min<std::uint64_t>(from_.bytes(), format::sector_bytes));
        from_.read(format::superblock_offset, sector);
        // A file that was cut short is one of those that this is for.
        const auto checked = format::check_superblock(sector, std::numeric_limits<std::uint64_t>::max(), from_.name());
        if (checked) {
            superblock_ = *checked;
        } else if (checked.error().code() == errc::unsupported_format) {
            fail(checked.error());
        } else {
            seen_.superblock_whole = false;
            seen_.notes.push_back(fmt::format("the superblock: {}; UUID and block size are those of the extent headers",
                                              without_name(checked.error().message(), from_.name())));
        }
        found_ = scan_blocks(from_, seen_.superblock_whole ? superblock_.block_bytes : format::block_bytes_min,
                             seen_.superblock_whole ? std::optional(superblock_.uuid) : std::nullopt);
        if (!seen_.superblock_whole) {
            if (found_.extents.empty())
                fail(exit_code::not_a_stream, "{}: no superblock, and no extent header either: not a stream",
                     from_.name());
            // All that the checks of slots ask of it.
            superblock_.uuid = found_.extents.front().uuid;
            superblock_.block_bytes = format::block_bytes_min;
            superblock_.data_offset = format::first_slots_offset;
            superblock_.initial_stream_bytes = from_.bytes();
            superblock_.stream_bytes_max = format::stream_bytes_max;
        }
        seen_.uuid = superblock_.uuid;
        seen_.block_bytes = seen_.superblock_whole ? superblock_.block_bytes : found_.block_bytes;
    }

    void read_header() {
        identity_ = from_.at<format::identity_line>(format::header_offset);
        constexpr std::uint64_t features_offset = format::header_offset + offsetof(format::shared_header, features);
        const auto line = from_.at<format::feature_line>(features_offset);
        const auto features = format::read_features(line, from_.name());
        if (!features)
            seen_.notes.push_back(without_name(features.error().message(), from_.name()));
        else if (const auto fine = format::check_features(*features, false, from_.name()); !fine)
            fail(fine.error());
        const auto stream_bytes = format::check_stream_bytes(line.stream_bytes, superblock_,
                                                             std::numeric_limits<std::uint64_t>::max(), from_.name());
        seen_.stream_bytes = stream_bytes             ? *stream_bytes
                             : seen_.superblock_whole ? superblock_.initial_stream_bytes
                                                      : 0;
        if (!stream_bytes)
            seen_.notes.push_back(without_name(stream_bytes.error().message(), from_.name()));
        const auto committed = from_.at<std::uint64_t>(format::header_offset + offsetof(format::shared_header, commit));
        const auto persisted =
            from_.at<std::uint64_t>(format::header_offset + offsetof(format::shared_header, persist));
        const auto epochs = format::check_epochs(identity_, from_.name());
        const std::uint64_t epoch = format::epoch_of(identity_.epoch);
        if (!epochs)
            seen_.notes.push_back(without_name(epochs.error().message(), from_.name()));
        if (epoch > 0 && epoch <= format::epoch_max && identity_.epoch == format::epoch_word(epoch))
            seen_.epoch = epoch;
        const bool sane = stream_bytes && epochs && epoch > 0 && format::epoch_of(identity_.clean_epoch) <= epoch &&
                          std::max(committed, persisted) <= format::sequence_max;
        clean_ = sane && identity_.epoch == identity_.clean_epoch;
        offsets_hold_ =
            sane && (clean_ || (from_.is_own_identity(identity_) &&
                                (from_.writer_alive() || (identity_.medium_flags & format::medium_error_flag) == 0)));
        pages_of_the_dead_ = offsets_hold_ && !clean_ && !from_.writer_alive() && format::wrote_pages(identity_);
        seen_.sequence_max = clean_ && committed == persisted ? committed : format::sequence_max;
        seen_.cut_short = from_.bytes() < std::max(seen_.stream_bytes, superblock_.initial_stream_bytes);
        header_holds_ = stream_bytes && epochs;
        entries_ever_ = std::max(committed, persisted);
        const bool never_opened = header_holds_ && epoch == 0 && entries_ever_ == 0;
        if (never_opened || (offsets_hold_ && !pages_of_the_dead_ && (!clean_ || committed == persisted)))
            seen_.committed = committed;
    }

    void damaged_table(std::string what) {
        seen_.table_whole = false;
        seen_.notes.push_back(std::move(what));
    }

    void read_table() {
        bounds_ = std::max({seen_.stream_bytes, from_.bytes(), superblock_.initial_stream_bytes});
        const auto first = from_.at<format::segment_header>(format::first_segment_offset);
        const bool first_whole = first.magic == format::magic_segment && first.crc == format::segment_crc(first);
        if (!first_whole)
            damaged_table("the header of the first table segment is damaged");
        // Without either header the slots end where the first extent begins, if not before.
        std::uint64_t slots = seen_.superblock_whole ? superblock_.first_segment_slots : first_whole ? first.slots : 0;
        const std::uint64_t end = found_.extents.empty() ? from_.bytes() : found_.lowest_extent;
        segments_missing_ = slots == 0;
        if (slots == 0)
            slots = (end - std::min(end, format::first_slots_offset)) / sizeof(format::region_slot);
        slots = std::min<std::uint64_t>(slots, 1024);
        for (std::uint64_t i = 0; i < slots; ++i)
            read_one_slot(format::first_slots_offset + i * sizeof(format::region_slot));

        bool last_whole = first_whole;
        std::uint64_t link = first.next;
        for (std::uint32_t index = 1;; ++index) {
            const auto segment = segment_with(index, link);
            if (segment == found_.segments.end()) {
                segments_missing_ = segments_missing_ || link != 0;
                break;
            }
            last_whole = true;
            segment_used_ = false;
            for (std::uint64_t i = 0; i < segment->second.slots; ++i)
                read_one_slot(segment->first + sizeof(format::segment_header) + i * sizeof(format::region_slot));
            link = segment->second.next;
        }
        if (segments_missing_)
            damaged_table("a part of the region table is not there");
        if (slots_wiped_ > 0)
            damaged_table("a slot is empty that was used");
        if (slots_behind_end_)
            damaged_table("a part of the region table lies behind the end of the file");
        // Nothing is appended without a region, and a slot keeps the generation of its last one.
        const bool none_ever = generation_max_ == 0 && lost_.empty();
        const bool wiped = none_ever && (entries_ever_ > 0 || !header_holds_);
        if (wiped && entries_ever_ > 0)
            damaged_table("every region slot is empty, and entries were appended");
        // All zero, in a segment whose header is damaged, may be all wiped.
        const bool ends_unused = slots_unused_ > 0 && (last_whole || segment_used_);
        account_.end_known = !wiped && (ends_unused || (last_whole && link == 0));
    }

    /// Where the link leads; else wherever one of that number lies, unless a region has those bytes for its own.
    [[nodiscard]] std::map<std::uint64_t, format::segment_header>::const_iterator segment_with(std::uint32_t index,
                                                                                               std::uint64_t link) {
        const auto linked = found_.segments.find(link & ~format::segment_link_mask);
        if (linked != found_.segments.end() && linked->second.index == index)
            return linked;
        const auto stray = std::ranges::find_if(found_.segments, [&](const auto& segment) {
            return segment.second.index == index && std::ranges::none_of(seen_.regions, [&](const found_region& r) {
                       return segment.first >= r.extent && segment.first < r.extent_end();
                   });
        });
        if (stray != found_.segments.end())
            damaged_table(fmt::format("the link to table segment {} is damaged", index));
        return stray;
    }

    void read_one_slot(std::uint64_t offset) {
        const std::uint32_t index = slots_++;
        if (offset + sizeof(format::region_slot) > from_.bytes()) {
            if (slots_unused_ > 0)
                return;
            slots_behind_end_ = true;
            lost_.push_back({index, offset, {}});
            return;
        }
        const auto slot = read_slot(from_, offset);
        const auto state = slot.cold.state;
        // Slots are taken in order: behind one that never was none is in use.
        if (state == 0) {
            ++slots_unused_;
            return;
        }
        slots_wiped_ += slots_unused_;
        slots_unused_ = 0;
        segment_used_ = true;
        generation_max_ = std::max(generation_max_, format::generation_of(state));
        if (format::state_of(state) == format::slot_state::free) {
            freed_.insert(format::generation_of(state));
            account_.generations.insert(format::generation_of(state));
            return;
        }
        if (!format::check_cold(slot.cold, index, superblock_, bounds_, from_.name())) {
            damaged_table(fmt::format("region slot {} at offset {} is damaged", index, offset));
            lost_.push_back({index, offset, slot});
            return;
        }
        add_region(index, offset, slot);
    }

    void add_region(std::uint32_t index, std::uint64_t offset, const format::region_slot& slot) {
        const auto& cold = slot.cold;
        found_region region{.name = std::string(format::name_of(cold)),
                            .slot = index,
                            .slot_offset = offset,
                            .state_word = cold.state,
                            .generation = format::generation_of(cold.state),
                            .extent = cold.extent_offset,
                            .extent_bytes = cold.extent_bytes,
                            .first_sequence = cold.first_sequence,
                            .unknown_flags = format::unknown_slot_flags(cold),
                            .emptied = format::state_of(cold.state) == format::slot_state::clearing};
        take_offsets(region, slot);
        const auto word = slot.persist.persisted;
        const auto persisted_epoch = clean_ || !seen_.epoch
                                         ? std::nullopt
                                         : format::recent_epoch(*seen_.epoch, format::persisted_epoch_of(word));
        if (persisted_epoch && format::check_offsets(format::persisted_offset_of(word),
                                                     format::persisted_offset_of(word), cold, 0, index, from_.name()))
            region.persisted = {format::persisted_offset_of(word), *persisted_epoch};
        seen_.regions.push_back(std::move(region));
    }

    void take_offsets(found_region& region, const format::region_slot& slot) const {
        const auto possible = [&](std::uint64_t end) {
            return end >= region.begin() && end <= region.extent_end() && base::is_aligned(end, 8);
        };
        const std::uint64_t commit = slot.commit.commit_offset;
        if (!possible(commit))
            return;
        if (pages_of_the_dead_) {
            const std::uint64_t persisted = format::persisted_offset_of(slot.persist.persisted);
            region.end = end_of_the_dead(region, possible(persisted) ? std::max(commit, persisted) : commit);
            return;
        }
        const bool settled = slot.persist.persisted == format::persisted_word(commit, seen_.epoch.value_or(0)) &&
                             slot.commit.sequence == slot.persist.sequence;
        (offsets_hold_ && (settled || !clean_) ? region.end : region.end_at_least) = commit;
    }

    [[nodiscard]] std::uint64_t end_of_the_dead(const found_region& region, std::uint64_t known) const {
        region_summary found;
        found.judged_end = known;
        judge_uncommitted(from_,
                          {.begin = known,
                           .end = region.extent_end(),
                           .crc_seed = format::entry_crc_seed(seen_.uuid, region.generation),
                           .first_sequence = region.first_sequence,
                           .sequence_max = seen_.sequence_max,
                           .epoch = seen_.epoch},
                          window_bytes_for(1), found);
        return found.judged_end;
    }

    /// A damaged slot may still tell which extent is its region's. Returns how many do not.
    std::size_t match_damaged_slots() {
        std::size_t unexplained = 0;
        for (const auto& lost : lost_) {
            const auto* const extent = lost.slot ? unclaimed_of(*lost.slot) : nullptr;
            if (extent == nullptr) {
                ++unexplained;
                expect_generation_of(lost);
                continue;
            }
            auto region = region_of(*extent);
            region.slot = lost.index;
            region.slot_offset = lost.offset;
            region.state_word = lost.slot->cold.state;
            const auto& cold = lost.slot->cold;
            if (cold.place_crc == format::place_crc(cold) && cold.name.back() == 0)
                region.name = std::string(format::name_of(cold));
            take_offsets(region, *lost.slot);
            region.end_at_least = region.end ? region.end : region.end_at_least;
            region.end.reset();
            seen_.regions.push_back(std::move(region));
        }
        return unexplained;
    }

    /// Of a slot that leads to no region, where its state word may be whole.
    void expect_generation_of(const lost_slot& lost) {
        const std::uint64_t state = lost.slot ? lost.slot->cold.state : 0;
        const bool makes_sense = format::state_of(state) == format::slot_state::live ||
                                 format::state_of(state) == format::slot_state::clearing;
        const std::uint64_t generation = format::generation_of(state);
        if (makes_sense &&
            std::ranges::none_of(found_.extents, [&](const auto& e) { return e.generation == generation; }))
            account_.generation_lost = true;
    }

    [[nodiscard]] bool is_claimed(const format::extent_header& extent) const {
        return std::ranges::any_of(seen_.regions, [&](const found_region& r) {
            return r.extent == extent.extent_offset && r.generation >= extent.generation;
        });
    }

    [[nodiscard]] const format::extent_header* unclaimed_of(const format::region_slot& slot) const {
        const format::extent_header* best = nullptr;
        for (const auto& extent : found_.extents)
            if (!is_claimed(extent) && (extent.extent_offset == slot.cold.extent_offset ||
                                        extent.generation == format::generation_of(slot.cold.state)))
                best = &extent;
        return best;
    }

    static found_region region_of(const format::extent_header& extent) {
        return {.generation = extent.generation,
                .extent = extent.extent_offset,
                .extent_bytes = extent.extent_bytes,
                .first_sequence = extent.first_sequence,
                .unknown_flags = extent.flags & format::slot_flags_required & ~format::known_slot_flags};
    }

    /// Extents of no slot are those of freed regions, as long as the table is whole.
    void take_unclaimed(std::size_t unexplained) {
        std::vector<found_region> taken;
        for (const auto& extent : found_.extents) {
            if (is_claimed(extent) || freed_.contains(extent.generation))
                continue;
            // The table keeps the greatest generation that was given, even if its region was freed. An allocation that
            // a kill cut short leaves a header too, and nothing behind it.
            const bool younger = extent.generation > generation_max_ &&
                                 from_.at<format::entry_header>(extent.extent_offset + sizeof extent).meta != 0;
            if (younger || unexplained > 0 || slots_wiped_ > 0 || segments_missing_)
                taken.push_back(region_of(extent));
            // Slots behind the last that is used are empty, and this one's is not among those before it.
            if (younger && unexplained == 0 && slots_wiped_ == 0)
                account_.end_known = false;
        }
        for (const auto& extent : found_.extents)
            account_.generations.insert(extent.generation);
        for (const auto& region : seen_.regions)
            account_.generations.insert(region.generation);
        account_.slots_lost += unexplained + slots_wiped_;
        account_.regions_taken = taken.size();
        if (!taken.empty() && seen_.table_whole)
            damaged_table("regions are there that the table does not name");
        std::ranges::move(taken, std::back_inserter(seen_.regions));
    }

    const media& from_;
    survey seen_;
    scan_result found_;
    format::superblock superblock_{};
    format::identity_line identity_{};
    bool clean_ = false;
    bool offsets_hold_ = false;       // an opening writer would trust the commit offsets
    bool pages_of_the_dead_ = false;  // and, behind them, what its predecessor left
    std::uint64_t bounds_ = 0;
    std::uint32_t slots_ = 0;
    bool segments_missing_ = false;
    bool slots_behind_end_ = false;
    bool segment_used_ = false;     // a slot of the segment that was read last
    std::size_t slots_unused_ = 0;  // behind the last one that was used
    std::size_t slots_wiped_ = 0;   // empty, and before one that was used
    bool header_holds_ = false;
    std::uint64_t entries_ever_ = 0;  // at least, if the header is whole
    table_account account_;
    std::uint64_t generation_max_ = 0;
    std::set<std::uint64_t> freed_;
    std::vector<lost_slot> lost_;
};

}  // namespace

survey look_over(const media& from) {
    // A live writer that allocates between two looks makes a whole table seem damaged; a damaged one stays so.
    constexpr int tries = 8;
    for (int i = 1;; ++i) {
        auto seen = surveyor(from).look();
        if (seen.table_whole || i == tries || !from.writer_alive())
            return seen;
    }
}

}  // namespace pmemstream::tools
