#include "src/log/recovery.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/base/unique_fd.hpp"
#include "src/base/wall_clock.hpp"
#include "src/format/entry.hpp"
#include "src/format/rescan.hpp"
#include "src/format/validate.hpp"
#include "src/log/scan.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace pmemstream::log {

using base::failure;
using base::load_relaxed;
using base::store_relaxed;
using base::store_release;

result<file_identity> current_identity(const stream_file& file) {
    static constexpr const char* path = "/proc/sys/kernel/random/boot_id";
    const base::unique_fd fd(::open(path, O_RDONLY | O_CLOEXEC));
    char text[37] = {};
    if (!fd || ::read(fd.get(), text, 36) != 36)
        return base::system_failure(errno, "{}: reading the boot id", path);
    file_identity now;
    now.device = file.backing().device;
    now.inode = file.backing().inode;
    std::size_t digits = 0;
    for (const char c : text) {
        const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value < 0)
            continue;
        auto& byte = now.boot_id[digits / 2 % now.boot_id.size()];
        byte = static_cast<std::byte>(std::to_integer<int>(byte) << 4 | value);
        ++digits;
    }
    if (digits != 2 * now.boot_id.size())
        return failure(errc::io, "{}: not a boot id: {}", path, text);
    return now;
}

bool is_same_file(const format::identity_line& identity, const file_identity& now) noexcept {
    return identity.epoch == 0 || (identity.st_dev == now.device && identity.st_ino == now.inode);
}

trust decide_trust(const format::identity_line& identity, const file_identity& now) noexcept {
    // [P16] Whoever closed this stream persisted everything first. Pairs with [P15] in writer.cpp.
    const bool ever_closed = base::mutated(base::mutant::clean_for_ever) && identity.clean_epoch != 0;
    if (identity.clean_epoch == identity.epoch || ever_closed)
        return trust::clean;
    // [P12] Boot and file are the ones whose offsets these are. Pairs with [P11] in writer.cpp.
    const bool ours = (identity.boot_id == now.boot_id && is_same_file(identity, now)) ||
                      base::mutated(base::mutant::identity_ignored);
    const bool holds = ours && (identity.medium_flags & format::medium_error_flag) == 0;
    return holds ? trust::process_died : trust::rescan;
}

trust reconsider_trust(const stream_file& file, const region_table& table, const file_identity& now,
                       trust row) noexcept {
    const auto& header = file.header();
    if (row != trust::clean || is_same_file(header.identity, now))
        return row;
    bool agrees = header.commit.timestamp == header.persist.timestamp;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        const auto& slot = table.slot(i);
        if (format::state_of(slot.cold.state) == format::slot_state::live)
            agrees = agrees && slot.commit.timestamp == slot.persist.timestamp &&
                     format::persisted_word(slot.commit.commit_offset, file.epoch()) == slot.persist.persisted;
    }
    return agrees ? row : trust::rescan;
}

namespace {

struct recovered_region {
    format::region_slot* slot = nullptr;
    std::uint32_t index = 0;
    std::uint64_t end_of_region = 0;
    std::uint64_t end = 0;
    std::uint64_t timestamp = 0;
    std::uint64_t given = 0;  // no timestamp in the region, committed or not, was greater
    bool clearing = false;
};

/// What lies in a region from `offset` on.
scan_input bytes_behind(const stream_file& file, const format::slot_cold& cold, std::uint64_t offset) {
    const std::uint64_t end = cold.extent_offset + cold.extent_bytes;
    return {.bytes = {file.bytes_at(offset), end - offset},
            .offset = offset,
            .previous_timestamp = cold.first_timestamp - std::min<std::uint64_t>(cold.first_timestamp, 1),
            .crc_seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(cold.state)),
            .epoch = file.epoch(),
            .oldest_epoch = 0};
}

/// The row "clean": the commit offset, which equals the persisted one (or the region is refused).
result<recovered_region> judge_clean(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                     const format::slot_cold& cold) {
    if (auto info = read_region(file, slot, index, cold); !info)
        return tl::unexpected(std::move(info.error()));
    return recovered_region{.slot = &slot,
                            .end_of_region = cold.extent_offset + cold.extent_bytes,
                            .end = slot.commit.commit_offset,
                            .timestamp = slot.commit.timestamp,
                            .given = slot.commit.timestamp};
}

/// The row "a process died": the commit offset, and nothing past it.
result<recovered_region> judge_process_died(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                            const format::slot_cold& cold) {
    auto found = judge_clean(file, slot, index, cold);
    if (!found)
        return found;
    // Killed before it stored the commit offset, a writer has stored the timestamp already. The region does not hold
    // that entry; that nobody gets its timestamp again is the stream's business. An earlier writer's entry there says
    // nothing: it was cut, and the one before it is of the writer that died.
    const std::uint64_t committed = file.header().commit.timestamp;
    auto uncommitted = bytes_behind(file, cold, found->end);
    uncommitted.oldest_epoch = uncommitted.epoch;
    if (found->timestamp > committed && whole_entry_timestamp(uncommitted) > committed)
        found->timestamp = committed;
    return found;
}

/// The row "anything else": the persisted offset, and then what verifies.
result<recovered_region> judge_rescan(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                      const format::slot_cold& cold, bool same_file, recovery_report& report) {
    // [P10] What lies before the persisted offset is on the medium, whole; the scan begins there. Pairs with [P9] in
    //       flusher.cpp. The commit offset may be of any moment.
    const bool trusting = base::mutated(base::mutant::scan_from_commit);
    const std::uint64_t persisted =
        trusting ? slot.commit.commit_offset : format::persisted_offset_of(slot.persist.persisted);
    if (auto fine = format::check_offsets(persisted, persisted, cold, index, file.name()); !fine)
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
    // Timestamps are compared from the region's first: a kill between the two stores of the persist line leaves its
    // timestamp ahead of its offset.
    const auto scanned = scan(input);
    report.entries_recovered += scanned.entries;
    report.regions_cut += scanned.cut ? 1 : 0;
    report.regions_cut_before_whole_entries += scanned.whole_entry_behind ? 1 : 0;
    const std::uint64_t timestamp = std::max(scanned.timestamp, slot.persist.timestamp);
    return recovered_region{.slot = &slot,
                            .end_of_region = cold.extent_offset + cold.extent_bytes,
                            .end = scanned.end,
                            .timestamp = timestamp,
                            .given = timestamp};
}

/// Row by row, what a region's end is. Stores nothing.
result<recovered_region> judge_region(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                      const format::slot_cold& cold, trust row, bool same_file,
                                      recovery_report& report) {
    if (format::state_of(cold.state) == format::slot_state::clearing)
        return recovered_region{.slot = &slot, .clearing = true};
    switch (row) {
        case trust::clean:
            return judge_clean(file, slot, index, cold);
        case trust::process_died:
            return judge_process_died(file, slot, index, cold);
        default:
            return judge_rescan(file, slot, index, cold, same_file, report);
    }
}

/// All segments. What else a dead writer left dirty is nobody's to wait for.
result<void> persist_table(const stream_file& file, const region_table& table) {
    std::vector<medium::byte_range> ranges;
    for (const auto& segment : table.segments()) {
        const std::uint64_t slots = file.at<format::segment_header>(segment.offset).slots;
        const std::uint64_t bytes = sizeof(format::segment_header) + slots * sizeof(format::region_slot);
        ranges.push_back({segment.offset, std::min(bytes, segment.bytes)});
    }
    return file.medium().persist(ranges, medium::elsewhere::dirty);
}

/// Ends each region where it was judged to end: an entry that was cut once never comes back.
result<void> settle_regions(stream_file& file, const std::vector<recovered_region>& regions) {
    std::vector<medium::byte_range> ends;
    for (const auto& region : regions) {
        if (region.clearing)
            continue;
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
        store_relaxed(region.slot->commit.timestamp, region.timestamp);
        store_release(region.slot->commit.commit_offset, region.end);
    }
    return {};
}

/// Whether the entries that an earlier writer committed are what it wrote. A page whose write was refused may have left
/// the memory since; then what the medium had before is there.
result<void> check_earlier(const stream_file& file, const format::region_slot& slot, std::uint32_t index,
                           std::uint64_t generation, medium::byte_range entries) {
    if (format::generation_of(base::load_acquire(slot.cold.state)) != generation)
        return {};  // cleared since, or freed: by the writer that asks
    auto input = bytes_behind(file, slot.cold, entries.offset);
    input.bytes = input.bytes.first(entries.bytes);
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
    std::vector<medium::byte_range> parts{{0, file.superblock().data_offset}};
    for (std::size_t i = 1; i < table.segments().size(); ++i)
        parts.push_back({table.segments()[i].offset, table.segments()[i].bytes});
    return parts;
}

/// After the medium refused something, the kernel may call pages clean that never reached it. Stored again, they are dirty
/// again, and the next sync speaks of them. A writer that died may have died of just that, before it could say so: then
/// whatever it had not persisted is in doubt. There may be much of that; it is stored again when it is persisted.
void doubt_clean_pages(const stream_file& file, const region_table& table, durability::flusher& flusher, trust row,
                       bool refused, const std::vector<recovered_region>& regions) {
    auto& medium = file.medium();
    for (const auto& part : metadata(file, table))
        medium.touch(part.offset, part.bytes);
    std::vector<std::uint64_t> ends(table.slots());
    std::vector<std::uint64_t> generations(table.slots());
    for (const auto& region : regions) {
        if (region.clearing)
            continue;
        // A rescan has just looked at them.
        if (row == trust::process_died)
            ends[region.index] = region.end;
        generations[region.index] = format::generation_of(region.slot->cold.state);
        if (refused)
            medium.touch(region.slot->cold.extent_offset, region.slot->cold.extent_bytes);
    }
    flusher.doubt(std::move(ends), [&file, &table, generations](std::uint32_t index, medium::byte_range entries) {
        return check_earlier(file, table.slot(index), index, generations[index], entries);
    });
}

}  // namespace

result<recovered_stream> recover(stream_file& file, const region_table& table, durability::flusher& flusher, trust row,
                                 bool same_file) {
    recovered_stream all;
    all.report.found = row == trust::clean          ? recovery_report::state::clean
                       : row == trust::process_died ? recovery_report::state::process_died
                                                    : recovery_report::state::rescanned;
    auto& header = file.header();
    std::vector<recovered_region> regions;
    // [P20] The header's timestamps count, whatever the regions hold. Pairs with [P19] in region_allocation.cpp.
    std::uint64_t committed = base::mutated(base::mutant::header_timestamps_ignored)
                                  ? 0
                                  : std::max(header.commit.timestamp, header.persist.timestamp);
    std::uint64_t given = committed;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto& slot = table.slot(i);
        auto cold = read_cold(file, slot, i, false);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (!*cold)
            continue;
        auto judged = judge_region(file, slot, i, **cold, row, same_file, all.report);
        if (!judged)
            return tl::unexpected(std::move(judged.error()));
        committed = std::max(committed, judged->timestamp);
        // A region's promise that nothing in it is older may be durable where the timestamps before it are not.
        const std::uint64_t first = judged->clearing ? 0 : (*cold)->first_timestamp;
        given = std::max({given, committed, judged->given, first - std::min<std::uint64_t>(first, 1)});
        judged->index = i;
        regions.push_back(*judged);
    }
    if (given > format::timestamp_max)
        return failure(errc::corrupt, "{}: the header gives an impossible timestamp: {}", file.name(), given);
    if (row == trust::clean && header.commit.timestamp != header.persist.timestamp)
        return failure(errc::corrupt, "{}: closed cleanly, yet the header's committed ({}) and persisted ({}) differ",
                       file.name(), header.commit.timestamp, header.persist.timestamp);
    all.next_timestamp = given + 1;

    const bool refused = (header.identity.medium_flags & format::medium_error_flag) != 0;
    const bool doubted = !file.medium().flushes() && (refused || row != trust::clean || !same_file);
    if (doubted)
        doubt_clean_pages(file, table, flusher, row, refused, regions);
    // [P17] What the table says in memory is on the medium before anything is built on it. Pairs with [P18] in
    //       region_table.cpp. Without it: a process killed between a store and its flush leaves words that only this
    //       boot knows; blocks are reused, and after power loss two slots hold them.
    if (!base::mutated(base::mutant::table_not_flushed))
        if (auto done = persist_table(file, table); !done)
            return tl::unexpected(std::move(done.error()));
    bool changed = row != trust::clean || !same_file;
    for (const auto& region : regions) {
        if (!region.clearing)
            continue;
        changed = true;
        const std::uint64_t generation = format::generation_of(region.slot->cold.state);
        if (auto done = bring_to_life(file, *region.slot, generation, all.next_timestamp, file.epoch(),
                                      base::kill_point::clear_emptied);
            !done)
            return tl::unexpected(std::move(done.error()));
    }
    if (row != trust::clean || !same_file)
        if (auto done = settle_regions(file, regions); !done)
            return tl::unexpected(std::move(done.error()));
    store_release(header.commit.timestamp, committed);
    if (changed)
        if (auto done = persist_table(file, table); !done)
            return tl::unexpected(std::move(done.error()));
    if (auto done = file.persist(header); !done)
        return tl::unexpected(std::move(done.error()));
    // After a rescan everything that is left was read from the medium or is made durable now; else only now and then.
    if (row == trust::rescan || (file.epoch() + 1) % persist_every_epochs == 0)
        if (auto done = flusher.persist_everything(); !done)
            return tl::unexpected(std::move(done.error()));
    if (doubted) {
        for (const auto& part : metadata(file, table))
            if (auto fine = file.medium().check_written(part.offset, part.bytes); !fine)
                return tl::unexpected(std::move(fine.error()));
        // Of a copy, or where some sync was refused, what lies before the persisted offsets need not be on the medium.
        if (refused || !same_file)
            if (auto done = file.medium().persist(0, file.stream_bytes()); !done)
                return tl::unexpected(std::move(done.error()));
    }
    base::die_at(base::kill_point::open_recovered);
    return all;
}

result<void> bring_to_life(stream_file& file, format::region_slot& slot, std::uint64_t generation,
                           std::uint64_t first_timestamp, std::uint64_t epoch, base::kill_point prepared) {
    auto& cold = slot.cold;
    const std::uint64_t begin = cold.extent_offset + sizeof(format::extent_header);
    auto& extent = file.at<format::extent_header>(cold.extent_offset);
    extent = format::extent_header{.magic = format::magic_extent,
                                   .uuid = file.superblock().uuid,
                                   .generation = generation,
                                   .extent_bytes = cold.extent_bytes,
                                   .first_timestamp = first_timestamp,
                                   .extent_offset = cold.extent_offset,
                                   .flags = 0,
                                   .crc = 0};
    extent.crc = format::extent_crc(extent);
    std::memset(file.bytes_at(begin), 0, sizeof(format::entry_header));
    if (!base::mutated(base::mutant::extent_not_durable))
        if (auto done = file.medium().persist(cold.extent_offset, sizeof extent + sizeof(format::entry_header)); !done)
            return done;
    store_relaxed(cold.first_timestamp, first_timestamp);
    store_relaxed(cold.creation_ns, base::wall_clock_ns());
    store_relaxed(cold.place_crc, format::place_crc(cold));
    store_relaxed(cold.crc, format::cold_crc(cold, generation));
    store_relaxed(slot.commit.timestamp, std::uint64_t{0});
    store_relaxed(slot.commit.commit_offset, begin);
    store_relaxed(slot.persist.timestamp, std::uint64_t{0});
    store_relaxed(slot.persist.persisted, format::persisted_word(begin, epoch));
    // [P7] Slot and extent are durable before the state word makes a region of them. Pairs with [P8] in
    //      region_table.cpp.
    //      Without it: after power loss a live region has torn fields, or the entries of an earlier use.
    if (!base::mutated(base::mutant::slot_not_durable))
        if (auto done = file.persist(slot); !done)
            return done;
    base::die_at(prepared);
    store_release(cold.state, format::state_word(generation, format::slot_state::live));
    return file.persist(cold);
}

}  // namespace pmemstream::log
