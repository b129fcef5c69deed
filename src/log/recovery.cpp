#include "src/log/recovery.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/unique_fd.hpp"
#include "src/base/wall_clock.hpp"
#include "src/format/entry.hpp"
#include "src/format/validate.hpp"

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
    now.device = file.device();
    now.inode = file.inode();
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

trust decide_trust(const format::identity_line& identity, const file_identity& now) noexcept {
    // [P16] Whoever closed this stream persisted everything first. Pairs with [P15] in writer.cpp.
    if (identity.clean_epoch == identity.epoch)
        return trust::clean;
    // [P12] Boot and file are the ones whose offsets these are. Pairs with [P11] in writer.cpp.
    const bool same_file =
        identity.boot_id == now.boot_id && identity.st_dev == now.device && identity.st_ino == now.inode;
    if (same_file && (identity.medium_flags & format::medium_error_flag) == 0)
        return trust::process_died;
    return trust::rescan;
}

namespace {

/// How many epochs ago an entry was written, as far as eight bits tell. 128 and more: it was not written yet.
constexpr unsigned epochs_ago(std::uint64_t epoch, std::uint64_t meta) noexcept {
    return (static_cast<unsigned>(epoch) - format::entry_meta::epoch(meta)) & 0xff;
}
constexpr unsigned epochs_ago_max = 127;
/// So that no entry behind a persisted offset grows that old, an opening persists everything this often.
constexpr std::uint64_t persist_every_epochs = 64;

struct scan_position {
    std::uint64_t at = 0;  // index into the bytes
    std::uint64_t timestamp = 0;
    unsigned epochs_ago = epochs_ago_max;
};

format::entry_fault check_entry(const scan_input& input, const scan_position& position,
                                format::entry_header& header) noexcept {
    using format::entry_fault;
    const std::uint64_t room = input.bytes.size() - position.at;
    if (room < sizeof header)
        return entry_fault::never_written;
    std::memcpy(&header, input.bytes.data() + position.at, sizeof header);
    // [P6] Zeros end the scan. Pairs with [P5] in settle_region().
    if (header.payload_bytes == 0 && header.crc == 0 && header.meta == 0)
        return entry_fault::never_written;
    if (const auto fault = format::check_header(header.payload_bytes, header.meta, room, position.timestamp);
        fault != entry_fault::none)
        return fault;
    // [P14] No entry of this stream is younger than its header's epoch. Pairs with [P13] in writer.cpp.
    //       And none follows one of a later writer: what does is the old neighbour of an entry that was cut.
    if (epochs_ago(input.epoch, header.meta) > position.epochs_ago)
        return entry_fault::epoch_order;
    const auto crc = format::expected_crc(input.bytes.data() + position.at, header.payload_bytes, header.meta,
                                          input.offset + position.at, input.crc_seed);
    return crc == header.crc ? entry_fault::none : entry_fault::crc;
}

void step_over(const scan_input& input, scan_position& position, const format::entry_header& header) noexcept {
    position.at += format::entry_bytes(header.payload_bytes);
    position.epochs_ago = epochs_ago(input.epoch, header.meta);
    if ((header.meta & format::entry_meta::filler_bit) == 0)
        position.timestamp = format::entry_meta::timestamp(header.meta);
}

/// Only to tell the operator: whether anything whole lies behind a damaged entry, as far as its length can be believed.
bool whole_entry_behind(const scan_input& input, scan_position position) noexcept {
    constexpr unsigned steps_max = 1024;
    for (unsigned i = 0; i < steps_max; ++i) {
        format::entry_header header{};
        switch (check_entry(input, position, header)) {
            case format::entry_fault::none:
                return true;
            case format::entry_fault::crc:
                position.at += format::entry_bytes(header.payload_bytes);
                break;
            default:
                return false;
        }
    }
    return false;
}

}  // namespace

scan_result scan(const scan_input& input) noexcept {
    using format::entry_fault;
    scan_result found{.end = input.offset, .timestamp = input.previous_timestamp};
    scan_position position{.timestamp = input.previous_timestamp};
    std::uint64_t entries = 0;
    bool in_batch = false;
    entry_fault fault = entry_fault::none;
    for (;;) {
        format::entry_header header{};
        fault = check_entry(input, position, header);
        const bool filler = (header.meta & format::entry_meta::filler_bit) != 0;
        if (fault != entry_fault::none || (in_batch && filler))
            break;
        step_over(input, position, header);
        entries += filler ? 0 : 1;
        in_batch = (header.meta & format::entry_meta::more_bit) != 0;
        if (!in_batch) {
            found.end = input.offset + position.at;
            found.timestamp = position.timestamp;
            found.entries = entries;
        }
    }
    found.cut = in_batch || fault != entry_fault::never_written;
    found.whole_entry_behind = fault == entry_fault::crc && whole_entry_behind(input, position);
    return found;
}

namespace {

struct recovered_region {
    format::region_slot* slot = nullptr;
    std::uint64_t end_of_region = 0;
    std::uint64_t end = 0;
    std::uint64_t timestamp = 0;
    std::vector<std::uint64_t> stale = {};  // offsets of whole entries behind the end
    bool clearing = false;
};

/// Whole entries that lie behind a region's end, as far as lengths can be believed. The epoch in an entry has eight
/// bits only: 256 writers later what was cut would look new again, if it were left.
std::vector<std::uint64_t> find_stale(const stream_file& file, const format::region_slot& slot,
                                      const format::slot_cold& cold, std::uint64_t end) {
    constexpr unsigned steps_max = 4096;
    const std::uint64_t end_of_region = cold.extent_offset + cold.extent_bytes;
    const std::uint32_t seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(slot.cold.state));
    std::vector<std::uint64_t> stale;
    for (unsigned i = 0; i < steps_max && end_of_region - end >= sizeof(format::entry_header); ++i) {
        format::entry_header header{};
        std::memcpy(&header, file.bytes_at(end), sizeof header);
        const std::uint64_t bytes = format::entry_bytes(header.payload_bytes);
        if (header.meta == 0 || bytes > end_of_region - end)
            break;
        if (header.crc == format::expected_crc(file.bytes_at(end), header.payload_bytes, header.meta, end, seed))
            stale.push_back(end);
        end += bytes;
    }
    return stale;
}

/// Row by row, what a region's end is. Stores nothing.
result<recovered_region> judge_region(const stream_file& file, format::region_slot& slot, std::uint32_t index,
                                      const format::slot_cold& cold, trust row, recovery_report& report) {
    recovered_region found{.slot = &slot, .end_of_region = cold.extent_offset + cold.extent_bytes};
    if (format::state_of(cold.state) == format::slot_state::clearing) {
        found.clearing = true;
        return found;
    }
    const std::uint64_t committed = slot.commit.commit_offset;
    const std::uint64_t persisted = slot.persist.persisted_offset;
    if (row != trust::rescan) {
        auto info = read_region(file, slot, index, cold);  // for a clean stream: that the two agree
        if (!info)
            return tl::unexpected(std::move(info.error()));
        found.end = committed;
        found.timestamp = slot.commit.timestamp;
        if (row == trust::process_died)
            found.stale = find_stale(file, slot, cold, found.end);
        return found;
    }
    // [P10] What lies before the persisted offset is on the medium, whole; the scan begins there. Pairs with [P9] in
    //       persist_everything(). The commit offset may be of any moment.
    if (auto fine = format::check_offsets(persisted, persisted, cold, index, file.name()); !fine)
        return tl::unexpected(std::move(fine.error()));
    const scan_input input{
        .bytes = {file.bytes_at(persisted), found.end_of_region - persisted},
        .offset = persisted,
        // Not the persist line's timestamp: a kill between its two stores leaves it ahead of the offset.
        .previous_timestamp = cold.first_timestamp - std::min<std::uint64_t>(cold.first_timestamp, 1),
        .crc_seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(cold.state)),
        .epoch = file.header().identity.epoch,
    };
    const auto scanned = scan(input);
    found.end = scanned.end;
    found.stale = find_stale(file, slot, cold, found.end);
    found.timestamp = std::max(scanned.timestamp, slot.persist.timestamp);
    report.entries_recovered += scanned.entries;
    report.regions_cut += scanned.cut ? 1 : 0;
    report.regions_cut_before_whole_entries += scanned.whole_entry_behind ? 1 : 0;
    return found;
}

/// All segments, one flush each.
result<void> persist_table(const stream_file& file, const region_table& table) {
    for (const auto& segment : table.segments()) {
        const std::uint64_t slots = file.at<format::segment_header>(segment.offset).slots;
        const std::uint64_t bytes = sizeof(format::segment_header) + slots * sizeof(format::region_slot);
        if (auto done = file.medium().persist(segment.offset, std::min(bytes, segment.bytes)); !done)
            return done;
    }
    return {};
}

/// Zeros where the next entry of a region will begin, in memory; returns how many.
std::uint64_t zero_end(const stream_file& file, std::uint64_t end, std::uint64_t end_of_region) noexcept {
    const std::uint64_t zeroed = std::min<std::uint64_t>(sizeof(format::entry_header), end_of_region - end);
    std::memset(file.bytes_at(end), 0, zeroed);
    return zeroed;
}

/// Ends a region where it was judged to end: an entry that was cut once never comes back.
result<void> settle_region(stream_file& file, const recovered_region& region) {
    auto& slot = *region.slot;
    // [P5] The header that was cut is zero, durably, before anything is appended in its place. Pairs with [P6] in
    //      scan().
    //      Without it: after power loss the cut entry is back behind a shorter region, as if it had been committed.
    //      Flushed even if it read as zero: an earlier opening may have stored that and been killed before its flush.
    // What lies behind goes first, from the back: cut short, the next opening finds its way through what is left.
    for (auto offset = region.stale.rbegin(); offset != region.stale.rend(); ++offset) {
        std::memset(file.bytes_at(*offset), 0, sizeof(format::entry_header));
        if (auto done = file.medium().persist(*offset, sizeof(format::entry_header)); !done)
            return done;
    }
    const std::uint64_t zeroed = zero_end(file, region.end, region.end_of_region);
    if (auto done = file.medium().persist(region.end, zeroed); !done)
        return done;
    store_relaxed(slot.commit.timestamp, region.timestamp);
    store_release(slot.commit.commit_offset, region.end);
    return {};
}

}  // namespace

result<recovery_report> recover(stream_file& file, const region_table& table, trust row) {
    recovery_report report;
    report.found = row == trust::clean          ? recovery_report::state::clean
                   : row == trust::process_died ? recovery_report::state::process_died
                                                : recovery_report::state::rescanned;
    auto& header = file.header();
    std::vector<recovered_region> regions;
    std::uint64_t newest = std::max(header.commit.timestamp, header.persist.timestamp);
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto& slot = table.slot(i);
        auto cold = read_cold(file, slot, i, false);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (!*cold)
            continue;
        auto judged = judge_region(file, slot, i, **cold, row, report);
        if (!judged)
            return tl::unexpected(std::move(judged.error()));
        newest = std::max(newest, judged->timestamp);
        // A region's promise that nothing in it is older may be durable where the timestamps before it are not.
        if (!judged->clearing)
            newest = std::max(newest, (*cold)->first_timestamp - std::min<std::uint64_t>((*cold)->first_timestamp, 1));
        regions.push_back(*judged);
    }
    if (newest > format::timestamp_max)
        return failure(errc::corrupt, "{}: the header gives an impossible timestamp: {}", file.name(), newest);
    if (row == trust::clean && header.commit.timestamp != header.persist.timestamp)
        return failure(errc::corrupt, "{}: closed cleanly, yet the header's committed ({}) and persisted ({}) differ",
                       file.name(), header.commit.timestamp, header.persist.timestamp);

    // [P17] What the table says in memory is on the medium before anything is built on it. Pairs with [P18] in
    //       region_table.cpp. Without it: a process killed between a store and its flush leaves words that only this
    //       boot knows; blocks are reused, and after power loss two slots hold them.
    if (auto done = persist_table(file, table); !done)
        return tl::unexpected(std::move(done.error()));
    for (const auto& region : regions) {
        if (region.clearing) {
            const std::uint64_t generation = format::generation_of(region.slot->cold.state);
            if (auto done = bring_to_life(file, *region.slot, generation, newest + 1, base::kill_point::clear_emptied);
                !done)
                return tl::unexpected(std::move(done.error()));
        } else if (row != trust::clean) {
            if (auto done = settle_region(file, region); !done)
                return tl::unexpected(std::move(done.error()));
        }
    }
    store_release(header.commit.timestamp, newest);
    if (auto done = persist_table(file, table); !done)
        return tl::unexpected(std::move(done.error()));
    if (auto done = file.persist(header); !done)
        return tl::unexpected(std::move(done.error()));
    // After a rescan everything that is left was read from the medium or is made durable now; else only now and then.
    if (row == trust::rescan || (header.identity.epoch + 1) % persist_every_epochs == 0)
        if (auto done = persist_everything(file, table); !done)
            return tl::unexpected(std::move(done.error()));
    base::die_at(base::kill_point::open_recovered);
    return report;
}

result<void> bring_to_life(stream_file& file, format::region_slot& slot, std::uint64_t generation,
                           std::uint64_t first_timestamp, base::kill_point prepared) {
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
    if (auto done = file.medium().persist(cold.extent_offset, sizeof extent + sizeof(format::entry_header)); !done)
        return done;
    store_relaxed(cold.first_timestamp, first_timestamp);
    store_relaxed(cold.creation_ns, base::wall_clock_ns());
    store_relaxed(cold.place_crc, format::place_crc(cold));
    store_relaxed(cold.crc, format::cold_crc(cold, generation));
    store_relaxed(slot.commit.timestamp, std::uint64_t{0});
    store_relaxed(slot.commit.commit_offset, begin);
    store_relaxed(slot.persist.timestamp, std::uint64_t{0});
    store_relaxed(slot.persist.persisted_offset, begin);
    // [P7] Slot and extent are durable before the state word makes a region of them. Pairs with [P8] in
    //      region_table.cpp.
    //      Without it: after power loss a live region has torn fields, or the entries of an earlier use.
    if (auto done = file.persist(slot); !done)
        return done;
    base::die_at(prepared);
    store_release(cold.state, format::state_word(generation, format::slot_state::live));
    return file.persist(cold);
}

result<void> persist_everything(stream_file& file, const region_table& table) {
    auto& header = file.header();
    const std::uint64_t newest = load_relaxed(header.commit.timestamp);
    std::vector<format::region_slot*> moved;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto& slot = table.slot(i);
        if (format::state_of(load_relaxed(slot.cold.state)) != format::slot_state::live)
            continue;
        const std::uint64_t committed = load_relaxed(slot.commit.commit_offset);
        const std::uint64_t persisted = load_relaxed(slot.persist.persisted_offset);
        if (committed == persisted && load_relaxed(slot.commit.timestamp) == load_relaxed(slot.persist.timestamp))
            continue;
        // [P9] Entries, and zeros behind them, are durable before the persisted offset says so. Pairs with [P10] in
        //      judge_region(). Without it: after power loss the scan begins behind torn entries, which pass for rot; or
        //      finds there what an earlier writer's recovery had cut, neighbours of an entry that is no more.
        const std::uint64_t zeroed = zero_end(file, committed, slot.cold.extent_offset + slot.cold.extent_bytes);
        if (auto done = file.medium().persist(persisted, committed + zeroed - persisted); !done)
            return done;
        moved.push_back(&slot);
    }
    // The commit lines are durable first: no image has a persisted offset ahead of its commit offset.
    if (auto done = persist_table(file, table); !done)
        return done;
    for (auto* const slot : moved) {
        store_relaxed(slot->persist.timestamp, load_relaxed(slot->commit.timestamp));
        store_release(slot->persist.persisted_offset, load_relaxed(slot->commit.commit_offset));
    }
    if (auto done = persist_table(file, table); !done)
        return done;
    store_release(header.persist.timestamp, newest);
    return file.persist(header);
}

}  // namespace pmemstream::log
