#include "tools/salvage/region_source.hpp"

#include <fmt/format.h>
#include <algorithm>

namespace pmemstream::tools {

using format::entry_fault;

region_source::region_source(const media& from, const survey& seen, const found_region& region,
                             std::size_t window_bytes, salvaged_region& report)
    : from_(from),
      seen_(seen),
      region_(region),
      window_bytes_(window_bytes),
      report_(report),
      crc_seed_(format::entry_crc_seed(seen.uuid, region.generation)) {
    const std::uint64_t end = region.end.value_or(region.end_at_least.value_or(region.extent_end()));
    if (region.unknown_flags != 0)
        report_.leave(region.begin(), end,
                      fmt::format("its slot has flags that this tool would have to know: {:#x}", region.unknown_flags));
    else if (!region.emptied)
        report_.leave(std::max(region.begin(), from.bytes()), end, "the file ends before it");
}

bool region_source::open_range() {
    if (region_.emptied || region_.unknown_flags != 0 || range_ == region_.ranges.size())
        return false;
    const auto& range = region_.ranges[range_++];
    const std::uint64_t end = std::min({range.end, from_.bytes(), region_.end.value_or(range.end)});
    const walk_place place{.begin = std::min(range.begin, end),
                           .end = end,
                           .crc_seed = crc_seed_,
                           .first_sequence = last_ ? last_->sequence() + 1 : region_.first_sequence,
                           .sequence_max = seen_.sequence_max,
                           .epoch = seen_.epoch,
                           .persisted = region_.persisted,
                           .header_may_be_older = true};
    walk_.emplace(from_, place, window_bytes_);
    resumes_ = range.begin != region_.begin();
    return true;
}

bool region_source::is_gone() {
    report_.gone = report_.gone || (region_.slot && region_.state_word != 0 &&
                                    from_.at<std::uint64_t>(region_.slot_offset) != region_.state_word);
    return report_.gone;
}

void region_source::leave_batch(std::uint64_t end) {
    if (!unit_.empty())
        report_.leave(unit_.front().offset, end, "a batch that is not whole");
    unit_.clear();
}

void region_source::leave_unit() {
    if (!is_gone() && !unit_.empty())
        report_.leave(unit_.front().offset, unit_.back().end(), "it changed while it was copied");
}

bool region_source::goes_on_in_batch(const entry_walk::item& damaged, std::uint64_t gap_end,
                                     const entry_walk::item& next) const {
    // Its length led to the next one, so its header can be believed.
    if (damaged.fault == entry_fault::crc && damaged.end() == gap_end)
        return damaged.more();
    if (!last_ || !last_->more() || last_->epoch != next.epoch)
        return false;
    // The sequences of a batch have no gaps: so many entries must have had room here.
    const std::uint64_t lost = next.sequence() - last_->sequence() - 1;
    return lost >= 1 && lost <= (gap_end - damaged.offset) / sizeof(format::entry_header);
}

void region_source::end_range_at(const entry_walk::item& damaged) {
    const bool unwritten =
        damaged.fault == entry_fault::never_written || walk_->end() - damaged.offset < sizeof(format::entry_header);
    if (region_.end)
        report_.leave(damaged.offset, walk_->end(), format::to_string(damaged.fault));
    else if (region_.end_at_least)
        report_.leave(damaged.offset, std::min(*region_.end_at_least, walk_->end()), format::to_string(damaged.fault));
    else if (!unwritten && !resumes_)
        report_.leave(damaged.offset, walk_->end(),
                      "nothing verifies: damage, or bytes behind the region's last entry");
}

void region_source::cross_damage(const entry_walk::item& damaged) {
    leave_batch(damaged.offset);
    if (broken_)
        report_.leave(*broken_, damaged.offset, "a batch that is not whole");
    broken_.reset();
    const bool found = walk_->find_next();
    if (is_gone())
        return;
    if (!found) {
        end_range_at(damaged);
        return;
    }
    const std::uint64_t gap_end = walk_->position();
    if (!resumes_)
        report_.leave(damaged.offset, gap_end, format::to_string(damaged.fault));
    resumes_ = false;
    if (goes_on_in_batch(damaged, gap_end, walk_->look()))
        broken_ = gap_end;
}

bool region_source::next() {
    unit_.clear();
    for (;;) {
        if (report_.gone)
            return false;
        if (!walk_ || walk_->at_end()) {
            if (walk_)
                leave_batch(walk_->end());
            if (broken_ && walk_)
                report_.leave(*broken_, walk_->end(), "a batch that is not whole");
            broken_.reset();
            if (!open_range())
                return false;
            continue;
        }
        const auto item = walk_->look();
        if (item.fault != entry_fault::none) {
            cross_damage(item);
            continue;
        }
        resumes_ = false;
        walk_->step_over(item);
        if (!item.system())
            last_ = item;
        if (item.system() && !broken_) {
            leave_batch(item.offset);
            continue;
        }
        if (broken_) {
            if (!item.more()) {
                report_.leave(*broken_, item.end(), "a batch that is not whole");
                broken_.reset();
            }
            continue;
        }
        unit_.push_back(item);
        if (!item.more())
            return true;
    }
}

}  // namespace pmemstream::tools
