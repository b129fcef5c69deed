#include "src/recovery/judgement.hpp"

#include "src/base/failure.hpp"
#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/format/rescan.hpp"
#include "src/format/validate.hpp"
#include "src/stream/marks.hpp"
#include "src/stream/region_life.hpp"
#include "src/stream/region_table.hpp"

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace pmemstream::core {

using base::failure;

scan_input bytes_behind(const stream_file& file, const format::slot_cold& cold, std::uint64_t offset) {
    const std::uint64_t end = cold.extent_offset + cold.extent_bytes;
    return {.bytes = {file.bytes_at(offset), end - offset},
            .offset = offset,
            .previous_sequence = cold.first_sequence - std::min<std::uint64_t>(cold.first_sequence, 1),
            .crc_seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(cold.state)),
            .epoch = file.epoch(),
            .oldest_epoch = 0};
}

namespace {

tl::unexpected<error> refuse_unsupported(const stream_file& file, const format::slot_cold& cold, std::uint32_t index,
                                         std::uint64_t offset) {
    return failure(errc::unsupported_format,
                   "{}: {}: the entry at offset {} verifies and is of a later version of the format; nothing is cut: "
                   "open the stream with a newer library",
                   file.name(), region_text(cold, index), offset);
}

/// Of these offsets the greatest at which a mark lies whole before `end`, or 0: what a line says is a hint.
std::uint64_t verified_mark(const stream_file& file, const format::slot_cold& cold, std::uint64_t end,
                            std::initializer_list<std::uint64_t> offsets) {
    std::uint64_t newest = 0;
    for (const std::uint64_t offset : offsets)
        if (offset > newest && mark_at(file, cold, offset, end))
            newest = offset;
    return newest;
}

/// The row "clean": the commit offset, which equals the persisted one (or the region is refused).
result<recovered_region> judge_clean(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                     const format::slot_cold& cold) {
    if (auto info = read_region(file, slot, index, cold); !info)
        return tl::unexpected(std::move(info.error()));
    return recovered_region{.slot = &slot,
                            .end_of_region = cold.extent_offset + cold.extent_bytes,
                            .trusted = slot.commit.commit_offset,
                            .end = slot.commit.commit_offset,
                            .sequence = slot.commit.sequence,
                            .given = slot.commit.sequence};
}

/// The row "anything else": the persisted offset, and then what verifies.
result<recovered_region> judge_rescan(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                      const format::slot_cold& cold, bool same_file, recovery_report& report) {
    // [P10] What lies before the persisted offset is on the medium, whole; the scan begins there. Pairs with [P9] in
    //       flusher.cpp. The commit offset may be of any moment.
    const bool trusting = base::mutated(base::mutant::scan_from_commit);
    const std::uint64_t persisted =
        trusting ? slot.commit.commit_offset : format::persisted_offset_of(slot.persist.persisted);
    if (auto fine = format::check_offsets(persisted, persisted, cold, head_entry_bytes(file, cold), index, file.name());
        !fine)
        return tl::unexpected(std::move(fine.error()));
    auto input = bytes_behind(file, cold, persisted);
    auto stored_in = format::recent_epoch(input.epoch, format::persisted_epoch_of(slot.persist.persisted));
    if (!stored_in && !same_file)
        stored_in = input.epoch;  // a copy made in use: the header is of an earlier moment than this slot
    else if (!stored_in)
        return failure(errc::corrupt,
                       "{}: region slot {}: its persisted word at offset {} is of an epoch after the header's ({})",
                       file.name(), index, file.offset_of(slot.persist.persisted), input.epoch);
    input.oldest_epoch = base::mutated(base::mutant::persisted_epoch_ignored) ? 0 : *stored_in;
    // Sequences are compared from the region's first: a kill between the two stores of the persist line leaves its
    // sequence ahead of its offset.
    const auto scanned = scan(input);
    if (scanned.unsupported)
        return refuse_unsupported(file, cold, index, *scanned.unsupported);
    report.entries_recovered += scanned.entries;
    report.regions_cut += scanned.cut ? 1 : 0;
    report.regions_cut_before_whole_entries += scanned.whole_entry_behind ? 1 : 0;
    const std::uint64_t sequence = std::max(scanned.sequence, slot.persist.sequence);
    return recovered_region{.slot = &slot,
                            .end_of_region = cold.extent_offset + cold.extent_bytes,
                            .trusted = persisted,
                            .end = scanned.end,
                            .sequence = sequence,
                            .given = sequence,
                            .mark_offset = scanned.mark_offset};
}

/// The row "a process died": the commit offset. Where every store that was made is still there, nothing past it. Where the
/// last writer had pages (whatever this one's medium is) that is not sure: the kernel calls one clean that the medium has
/// refused, and once it has left the memory, the commit offsets in it are of an earlier moment; whom the refusal was told
/// may be dead. So then that writer's entries go on behind them, and one that it was about to commit counts as well.
result<recovered_region> judge_process_died(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                            const format::slot_cold& cold, recovery_report& report) {
    const bool in_pages =
        format::wrote_pages(file.header().identity) && !base::mutated(base::mutant::commit_offsets_believed);
    // Commit and persist line may be in two pages, and of two moments.
    if (const std::uint64_t persisted = format::persisted_offset_of(slot.persist.persisted);
        in_pages && persisted > slot.commit.commit_offset &&
        format::check_offsets(slot.commit.commit_offset, slot.commit.commit_offset, cold, head_entry_bytes(file, cold),
                              index, file.name()))
        return judge_rescan(file, slot, index, cold, true, report);
    auto found = judge_clean(file, slot, index, cold);
    if (!found)
        return found;
    auto uncommitted = bytes_behind(file, cold, found->end);
    // An earlier writer's entry there says nothing: it was cut, and the one before it is of the writer that died.
    uncommitted.oldest_epoch = uncommitted.epoch;
    const auto first = whole_entry_sequence(uncommitted);
    if (!first)
        return found;
    if (in_pages) {
        const auto scanned = scan(uncommitted);
        if (scanned.unsupported)
            return refuse_unsupported(file, cold, index, *scanned.unsupported);
        found->mark_offset = scanned.mark_offset;
        found->end = scanned.end;
        if (scanned.entries != 0)
            found->sequence = found->given = std::max(found->given, scanned.sequence);
        report.entries_recovered += scanned.entries;
        // What is torn was about to be committed, unless something whole lies behind it.
        report.regions_cut += scanned.whole_entry_behind ? 1 : 0;
        report.regions_cut_before_whole_entries += scanned.whole_entry_behind ? 1 : 0;
        return found;
    }
    // Killed before it stored the commit offset, a writer has stored the sequence already. The region does not hold
    // that entry; that nobody gets its sequence again is the stream's business.
    const std::uint64_t committed = file.header().commit.sequence;
    if (found->sequence > committed && *first > committed)
        found->sequence = committed;
    return found;
}

}  // namespace

result<recovered_region> judge_region(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                      const format::slot_cold& cold, trust row, bool same_file,
                                      recovery_report& report) {
    if (format::state_of(cold.state) == format::slot_state::clearing)
        return recovered_region{.slot = &slot, .clearing = true};
    auto found = row == trust::clean          ? judge_clean(file, slot, index, cold)
                 : row == trust::process_died ? judge_process_died(file, slot, index, cold, report)
                                              : judge_rescan(file, slot, index, cold, same_file, report);
    if (!found)
        return found;
    const std::uint64_t persisted = format::persisted_offset_of(slot.persist.persisted);
    const std::uint64_t of_persist_line = slot.persist.mark_offset;
    found->persisted_mark_offset = verified_mark(file, cold, std::min(persisted, found->end), {of_persist_line});
    found->mark_offset =
        verified_mark(file, cold, found->end, {found->mark_offset, slot.commit.mark_offset, of_persist_line});
    return found;
}

}  // namespace pmemstream::core
