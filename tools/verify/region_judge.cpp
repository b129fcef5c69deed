#include "tools/verify/region_judge.hpp"

#include "src/format/validate.hpp"
#include "src/format/words.hpp"
#include "tools/verify/tail.hpp"

#include <fmt/format.h>
#include <algorithm>

namespace pmemstream::tools {

namespace {

constexpr const char* advice_entry =
    "copy what verifies to a new stream: pmemstream-inspect salvage; what lies behind is shown by dump --from OFFSET";

std::uint64_t trusted_end(const snapshot& seen, const slot_view& view) {
    // Where the two differ after a clean close, that is a finding by itself.
    return commit_offsets_hold(seen.state) && seen.state != stream_state::clean && !seen.rescans(view.slot)
               ? view.slot.commit.commit_offset
               : format::persisted_offset_of(view.slot.persist.persisted);
}

walk_place place_of(const snapshot& seen, const slot_view& view) {
    return {
        .begin = view.begin(),
        .end = trusted_end(seen, view),
        .crc_seed = format::entry_crc_seed(seen.superblock.uuid, view.generation()),
        .first_sequence = view.slot.cold.first_sequence,
        .sequence_max = seen.judges_tails() || seen.state == stream_state::unknown ? format::sequence_max : seen.newest,
        .epoch = seen.epoch,
        .persisted = seen.persisted_of(view.slot).value_or(persisted_place{})};
}

}  // namespace

region_judge::region_judge(const media& from, const snapshot& seen, const slot_view& view, std::size_t window_bytes)
    : from_(from),
      seen_(seen),
      view_(view),
      place_(place_of(seen, view)),
      window_bytes_(window_bytes),
      walk_(from, place_, window_bytes),
      marks_(format::index_of(view.slot.commit.first_index)) {
    summary_.label = view.label();
    summary_.extent = view.slot.cold.extent_offset;
    summary_.extent_bytes = view.slot.cold.extent_bytes;
    summary_.begin = view.begin();
    summary_.committed_end = view.slot.commit.commit_offset;
    summary_.persisted_end = format::persisted_offset_of(view.slot.persist.persisted);
    summary_.judged_end = place_.end;
}

bool region_judge::is_gone() {
    summary_.gone = summary_.gone || from_.at<std::uint64_t>(view_.offset) != view_.slot.cold.state;
    return summary_.gone;
}

void region_judge::add(const char* kind, std::uint64_t offset, std::string what, const char* advice) {
    if (is_gone())
        return;
    if (++summary_.findings <= findings_per_region_max)
        findings_.push_back({kind, summary_.label, offset, std::move(what), advice});
}

void region_judge::look_at_persisted_offset() {
    const std::uint64_t persisted = summary_.persisted_end;
    const std::uint64_t persisted_sequence = view_.slot.persist.sequence;
    if (persisted_offset_met_ || walk_.position() < persisted)
        return;
    persisted_offset_met_ = true;
    if (walk_.position() > persisted)
        add("offsets", persisted, "the persisted offset is not where an entry begins", advice_metadata);
    else if (in_batch_)
        add("batch", persisted, "the persisted offset lies inside a batch", advice_metadata);
    else if (place_.persisted.offset == persisted && walk_.epoch() > place_.persisted.epoch)
        add("offsets", persisted,
            fmt::format("the entry before the persisted offset is of epoch {}, after that of the persisted word, {}",
                        walk_.epoch(), place_.persisted.epoch),
            advice_metadata);
    if (walk_.sequence() > persisted_sequence && summary_.entries > 0)
        add("sequences", persisted,
            fmt::format("an entry before the persisted offset has sequence {}, above the persisted sequence {}",
                        walk_.sequence(), persisted_sequence),
            advice_metadata);
}

/// A region begins with its head, unless its slot says that it has none.
void region_judge::look_at_head(const entry_walk::item& item) {
    const auto& cold = view_.slot.cold;
    const bool is_head = item.system() && item.type() == format::system_type::head;
    if ((cold.flags & format::slot_flag_headless) != 0 && !is_head)
        return;
    const auto head = is_head ? format::decode_head(walk_.payload_of(item)) : std::nullopt;
    if (!head)
        add("head", item.offset, "the region's first entry is no head", advice_entry);
    else if (head->log_id != cold.log_id || head->place != cold.place || head->name != format::name_of(cold))
        add("head", item.offset,
            fmt::format("the head is that of place {} of log {}, the slot's is place {} of log {}, or the names differ",
                        head->place, head->log_id, cold.place, cold.log_id),
            advice_metadata);
}

void region_judge::damage(const entry_walk::item& item) {
    const bool found = walk_.find_next();
    add("entry", item.offset,
        fmt::format("damaged entry: {}{}; {}", format::to_string(item.fault), in_batch_ ? ", inside a batch" : "",
                    found ? fmt::format("the next one that verifies is at {}", walk_.position())
                          : fmt::format("none verifies between there and {}", walk_.end())),
        advice_entry);
    in_batch_ = false;
    marks_.lose_count();
    // What cannot be followed tells nothing about the offset in it.
    if (walk_.position() > summary_.persisted_end)
        persisted_offset_met_ = true;
}

void region_judge::step(const entry_walk::item& item) {
    if (item.offset == view_.begin())
        look_at_head(item);
    if (item.system() && item.type() == format::system_type::mark)
        marks_.look_at(item, walk_.payload_of(item), walk_.sequence());
    else
        marks_.count(item);
    for (auto& what : marks_.take_contradictions())
        add("mark", item.offset, std::move(what), advice_entry);
    walk_.step_over(item);
    if (in_batch_ && item.system())
        add("batch", item.offset, "an entry of the library's own inside a batch", advice_entry);
    if (format::crc_covers_payload(item.header.meta) && !walk_.padding_is_zero(item))
        add("padding", item.offset, "bytes between the payload and the next entry are not zero",
            "the payload itself verifies; something else wrote into the file");
    summary_.batches += item.more() && !in_batch_ ? 1 : 0;
    in_batch_ = item.more();
    count(summary_, item);
}

std::optional<entry_walk::item> region_judge::next() {
    while (!walk_.at_end() && !summary_.gone) {
        look_at_persisted_offset();
        const auto item = walk_.look();
        if (item.fault == format::entry_fault::unsupported) {
            summary_.unsupported = format::to_string(item.fault);
            summary_.unsupported_from = item.offset;
            finished_ = true;  // what follows may be anything
            return std::nullopt;
        }
        if (item.fault != format::entry_fault::none) {
            if (!is_gone())
                damage(item);
            continue;
        }
        step(item);
        if (!item.system())
            return item;
    }
    finish();
    return std::nullopt;
}

void region_judge::finish() {
    if (finished_ || is_gone())
        return;
    finished_ = true;
    look_at_persisted_offset();
    const bool to_commit_offset = commit_offsets_hold(seen_.state) && !seen_.rescans(view_.slot);
    if (in_batch_ && to_commit_offset)
        add("batch", walk_.end(), "the commit offset lies inside a batch", advice_entry);
    const auto newest = view_.slot.commit.sequence;
    if (to_commit_offset && summary_.entries > 0 && walk_.sequence() > newest)
        add("sequences", walk_.end(),
            fmt::format("an entry has sequence {}, above the region's committed sequence {}", walk_.sequence(), newest),
            advice_metadata);
}

void region_judge::judge_tail() {
    // A persisted word whose epoch cannot be is a finding; no writer opens the stream then.
    if (is_gone() || !summary_.unsupported.empty() || !seen_.judges_tails() || !seen_.persisted_of(view_.slot))
        return;
    const bool rescans = seen_.rescans(view_.slot);
    const std::uint64_t last = summary_.last_sequence;
    auto behind = place_;
    behind.begin = place_.end;
    behind.end = view_.end();
    auto with_tail = summary_;
    with_tail.last_sequence = 0;
    with_tail.first_sequence = 0;
    (rescans ? tools::judge_tail : judge_uncommitted)(from_, behind, window_bytes_, with_tail);
    if (with_tail.recovered_entries > 0 && with_tail.first_sequence <= last)
        add("sequences", behind.begin,
            fmt::format("behind the {} offset sequences go on with {}, before it they end with {}",
                        rescans ? "persisted" : "commit", with_tail.first_sequence, last),
            advice_entry);
    with_tail.findings = summary_.findings;
    with_tail.gone = summary_.gone;
    if (summary_.entries > 0)
        with_tail.first_sequence = summary_.first_sequence;
    with_tail.last_sequence = std::max(with_tail.last_sequence, last);
    summary_ = with_tail;
}

}  // namespace pmemstream::tools
