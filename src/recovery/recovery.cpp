#include "src/recovery/recovery.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/format/rescan.hpp"
#include "src/format/validate.hpp"
#include "src/recovery/judgement.hpp"
#include "src/recovery/scan.hpp"
#include "src/stream/region_life.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace pmemstream::core {

using base::failure;
using base::load_relaxed;
using base::store_relaxed;
using base::store_release;

namespace {

/// All segments, as far as they have slots.
std::vector<medium::byte_range> ranges_of(const stream_file& file, const region_table& table) {
    std::vector<medium::byte_range> ranges;
    for (const auto& segment : table.segments()) {
        const std::uint64_t slots = file.at<format::segment_header>(segment.offset).slots;
        const std::uint64_t bytes = sizeof(format::segment_header) + slots * sizeof(format::region_slot);
        ranges.push_back({segment.offset, std::min(bytes, segment.bytes)});
    }
    return ranges;
}

/// What else a dead writer left dirty is nobody's to wait for.
result<void> persist_table(const stream_file& file, const region_table& table) {
    return file.medium().persist(ranges_of(file, table), medium::elsewhere::dirty);
}

/// No CRC covers what fills an entry up to a multiple of 8. Where the end of a payload is as it was before, so is that.
void zero_padding(const stream_file& file, const recovered_region& region) {
    std::uint64_t next = region.trusted;
    for (std::uint64_t offset = next; offset < region.end; offset = next) {
        const format::entry_header header = file.at<format::entry_header>(offset);
        next += format::entry_bytes(header.payload_bytes);
        const std::uint64_t payload_end = offset + sizeof header + header.payload_bytes;
        if (next > region.end || !format::crc_covers_payload(header.meta))
            continue;
        for (std::byte& padding : std::span(file.bytes_at(payload_end), next - payload_end))
            if (padding != std::byte{0})
                padding = std::byte{0};
    }
}

/// Ends each region where it was judged to end: an entry that was cut once never comes back.
result<void> settle_regions(stream_file& file, const std::vector<recovered_region>& regions) {
    std::vector<medium::byte_range> ends;
    for (const auto& region : regions) {
        if (region.clearing)
            continue;
        zero_padding(file, region);
        const std::uint64_t zeroed =
            std::min<std::uint64_t>(sizeof(format::entry_header), region.end_of_region - region.end);
        if (!base::mutated(base::mutant::end_not_zeroed))
            std::memset(file.bytes_at(region.end), 0, zeroed);
        if (zeroed != 0)
            ends.push_back({region.end, zeroed});
    }
    // [P5] The header that was cut is zero, durably, before anything is appended in its place. Pairs with [P6] in
    //      scan.cpp. Without it: after power loss the cut entry is back behind a shorter region, as if it had been
    //      committed. Flushed even if it read as zero: an earlier opening may have stored that and been killed before
    //      its flush. Entries behind it need no zeros: they are of an earlier writer than whatever will precede them.
    if (!base::mutated(base::mutant::zeros_not_durable))
        if (auto done = file.medium().persist(ends, medium::elsewhere::dirty); !done)
            return done;
    for (const auto& region : regions) {
        if (region.clearing)
            continue;
        store_relaxed(region.slot->commit.sequence, region.sequence);
        store_release(region.slot->commit.commit_offset, region.end);
    }
    return {};
}

/// Hints, which need not be durable: a later opening corrects them again.
void correct_marks(const std::vector<recovered_region>& regions) noexcept {
    for (const auto& region : regions) {
        if (region.clearing)
            continue;
        store_release(region.slot->commit.mark_offset, region.mark_offset);
        store_release(region.slot->persist.mark_offset, region.persisted_mark_offset);
    }
}

struct earlier_entries {
    std::uint64_t generation = 0;
    std::uint64_t oldest_epoch = 0;  // of the persisted word: none behind its offset is older
};

/// Whether the entries behind the persisted offset that an earlier writer committed are what it wrote. A page whose write
/// was refused may have left the memory since; then what the medium had before is there, which may be whole as well.
result<void> check_earlier(const stream_file& file, const format::region_slot& slot, std::uint32_t index,
                           const earlier_entries& known, medium::byte_range entries) {
    if (format::generation_of(base::load_acquire(slot.cold.state)) != known.generation)
        return {};  // cleared since, or freed: by the writer that asks
    auto input = bytes_behind(file, slot.cold, entries.offset);
    input.bytes = input.bytes.first(entries.bytes);
    input.oldest_epoch = base::mutated(base::mutant::persisted_epoch_ignored) ? 0 : known.oldest_epoch;
    const std::uint64_t end = scan(input).end;
    if (end == entries.offset + entries.bytes)
        return {};
    return base::system_failure(EIO,
                                "{}: {}: what a writer that died had committed at offset {} is not there any more: the "
                                "medium has refused it. Opening the stream anew cuts it",
                                file.name(), region_text(slot.cold, index), end);
}

/// Superblock, header and all of the table.
std::vector<medium::byte_range> metadata(const stream_file& file, const region_table& table) {
    auto parts = ranges_of(file, table);
    parts.front() = {0, parts.front().offset + parts.front().bytes};
    return parts;
}

/// A writer that died may have died of a refused sync, before it could say so: then whatever it had not persisted is in
/// doubt. There may be much of that; it is stored again when it is persisted.
void suspect_entries(const stream_file& file, const region_table& table, durability::flusher& flusher, trust row,
                     const std::vector<recovered_region>& regions) {
    std::vector<std::uint64_t> ends(table.slots());
    std::vector<earlier_entries> earlier(table.slots());
    for (const auto& region : regions) {
        if (region.clearing)
            continue;
        // A rescan has just looked at them.
        if (row == trust::process_died)
            ends[region.index] = region.end;
        const auto epoch_bits = format::persisted_epoch_of(region.slot->persist.persisted);
        earlier[region.index] = {format::generation_of(region.slot->cold.state),
                                 format::recent_epoch(file.epoch(), epoch_bits).value_or(0)};
    }
    flusher.doubt(std::move(ends), [&file, &table, earlier](std::uint32_t index, medium::byte_range entries) {
        return check_earlier(file, table.slot(index), index, earlier[index], entries);
    });
}

/// judge_region(); after a medium error what it reads is stored again first, as far as entries reach.
result<recovered_region> judge(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                               const format::slot_cold& cold, const last_writer& last, recovery_report& report) {
    const bool again = last.pages_suspect && last.refused;
    std::uint64_t end = std::max<std::uint64_t>(load_relaxed(slot.commit.commit_offset),
                                                format::persisted_offset_of(load_relaxed(slot.persist.persisted)));
    for (std::uint64_t stored = cold.extent_offset;;) {
        end = std::clamp(end, stored, cold.extent_offset + cold.extent_bytes);
        if (again)
            file.medium().touch(stored, end - stored);
        auto found = report;
        auto judged = judge_region(file, slot, index, cold, last.row, last.same_file, found);
        if (!judged || judged->end <= end || !again) {
            report = found;
            return judged;
        }
        stored = std::exchange(end, judged->end);
    }
}

}  // namespace

result<void> store_metadata_again(const stream_file& file) {
    file.medium().touch(0, format::first_slots_offset);
    region_table table;
    if (auto done = table.refresh(file); !done)
        return done;
    for (const auto& part : metadata(file, table))
        file.medium().touch(part.offset, part.bytes);
    return {};
}

result<recovered_stream> recover(stream_file& file, const region_table& table, durability::flusher& flusher,
                                 const last_writer& last) {
    const auto row = last.row;
    const bool same_file = last.same_file;
    recovered_stream all;
    all.report.found = row == trust::clean          ? recovery_report::state::clean
                       : row == trust::process_died ? recovery_report::state::process_died
                                                    : recovery_report::state::rescanned;
    auto& header = file.header();
    std::vector<recovered_region> regions;
    // [P20] The header's sequences count, whatever the regions hold. Pairs with [P19] in region_allocation.cpp.
    std::uint64_t committed = base::mutated(base::mutant::header_sequences_ignored)
                                  ? 0
                                  : std::max(header.commit.sequence, header.persist.sequence);
    std::uint64_t given = committed;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto& slot = table.slot(i);
        auto cold = read_cold(file, slot, i, false);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (!*cold)
            continue;
        // A region that cannot be recovered keeps the whole stream from being written.
        if (auto fine = format::check_slot_flags(**cold, i, file.name()); !fine)
            return tl::unexpected(std::move(fine.error()));
        auto judged = judge(file, slot, i, **cold, last, all.report);
        if (!judged)
            return tl::unexpected(std::move(judged.error()));
        committed = std::max(committed, judged->sequence);
        // A region's promise that nothing in it is older may be durable where the sequences before it are not.
        const std::uint64_t first = judged->clearing ? 0 : (*cold)->first_sequence;
        given = std::max({given, committed, judged->given, first - std::min<std::uint64_t>(first, 1)});
        judged->index = i;
        regions.push_back(*judged);
    }
    if (given > format::sequence_max)
        return failure(errc::corrupt, "{}: the header gives an impossible sequence: {}", file.name(), given);
    if (row == trust::clean && header.commit.sequence != header.persist.sequence)
        return failure(errc::corrupt, "{}: closed cleanly, yet the header's committed ({}) and persisted ({}) differ",
                       file.name(), header.commit.sequence, header.persist.sequence);
    all.next_sequence = given + 1;

    if (last.pages_suspect)
        suspect_entries(file, table, flusher, row, regions);
    // [P17] What the table says in memory is on the medium before anything is built on it. Pairs with [P18] in
    //       region_table.cpp. Without it: a process killed between a store and its flush leaves words that only this
    //       boot knows; blocks are reused, and after power loss two slots hold them.
    // It is refused where the fault guard has put zeros into the mapping, so that no region is ended by those: another
    // opening may be able to read what is below them.
    if (!base::mutated(base::mutant::table_not_flushed))
        if (auto done = persist_table(file, table); !done)
            return tl::unexpected(std::move(done.error()));
    bool changed = row != trust::clean || !same_file;
    for (const auto& region : regions) {
        if (!region.clearing)
            continue;
        changed = true;
        // Name and attributes are kept: see attributes_of_cleared().
        const region_birth birth{.generation = format::generation_of(region.slot->cold.state),
                                 .first_sequence = all.next_sequence,
                                 .epoch = file.epoch(),
                                 .head = {.log_id = 0,
                                          .predecessor_generation = 0,
                                          .place = 0,
                                          .name = std::string(format::name_of(region.slot->cold)),
                                          .attributes = attributes_of_cleared(file, region.slot->cold)}};
        if (auto done = bring_to_life(file, *region.slot, birth, base::kill_point::clear_emptied); !done)
            return tl::unexpected(std::move(done.error()));
    }
    if (row != trust::clean || !same_file)
        if (auto done = settle_regions(file, regions); !done)
            return tl::unexpected(std::move(done.error()));
    correct_marks(regions);
    store_release(header.commit.sequence, committed);
    if (changed)
        if (auto done = persist_table(file, table); !done)
            return tl::unexpected(std::move(done.error()));
    if (auto done = file.persist(header); !done)
        return tl::unexpected(std::move(done.error()));
    // After a rescan everything that is left was read from the medium or is made durable now; else only now and then.
    if (row == trust::rescan || (file.epoch() + 1) % persist_every_epochs == 0)
        if (auto done = flusher.persist_everything(); !done)
            return tl::unexpected(std::move(done.error()));
    if (last.pages_suspect) {
        for (const auto& part : metadata(file, table))
            if (auto fine = file.medium().check_written(part.offset, part.bytes); !fine)
                return tl::unexpected(std::move(fine.error()));
        // Of a copy, or where some sync was refused, what lies before the persisted offsets need not be on the medium.
        if (last.refused || !same_file)
            if (auto done = file.medium().persist(0, file.stream_bytes()); !done)
                return tl::unexpected(std::move(done.error()));
    }
    base::die_at(base::kill_point::open_recovered);
    return all;
}

}  // namespace pmemstream::core
