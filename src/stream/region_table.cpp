#include "src/stream/region_table.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/validate.hpp"
#include "src/stream/free_space.hpp"
#include "src/stream/region_life.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <cstring>

namespace pmemstream::core {

using base::failure;
using base::load_acquire;
using base::load_relaxed;

result<void> region_table::refresh(const stream_file& file) {
    const auto& superblock = file.superblock();
    const bool follows = !(base::mutated(base::mutant::link_ignored) && segments_.empty());
    for (;;) {
        std::uint64_t offset = format::first_segment_offset;
        if (!segments_.empty()) {
            const auto& last = file.at<format::segment_header>(segments_.back().offset);
            // [P4] acquire; a linked segment was zeroed and durable before. Pairs with [P3] in region_allocation.cpp.
            auto link =
                format::check_segment_link(load_acquire(last.next), superblock, file.stream_bytes(), file.name());
            if (!link)
                return tl::unexpected(std::move(link.error()));
            if (*link == 0 || !follows)
                return {};
            offset = *link;
        }
        // A copy: what was checked is what is used, whatever happens to the file meanwhile.
        const auto header = file.at<format::segment_header>(offset);
        const std::uint32_t slots = header.slots;
        const auto index = static_cast<std::uint32_t>(segments_.size());
        if (auto fine = format::check_segment(header, offset, index, superblock, file.stream_bytes(), file.name());
            !fine)
            return fine;
        if (slots_.size() + slots > format::region_slots_max)
            return failure(errc::corrupt, "{}: the region table has more than {} slots", file.name(),
                           format::region_slots_max);
        segments_.push_back({offset, header.segment_bytes});
        for (std::uint32_t i = 0; i < slots; ++i)
            slots_.push_back(&file.at<format::region_slot>(offset + sizeof header + i * sizeof(format::region_slot)));
    }
}

result<std::optional<format::slot_cold>> read_cold(const stream_file& file, const format::region_slot& slot,
                                                   std::uint32_t index, bool live_only) {
    const auto copy = [&slot](format::slot_cold& to) {
        base::copy_words(reinterpret_cast<std::uint64_t*>(&to), reinterpret_cast<const std::uint64_t*>(&slot.cold),
                         sizeof to / sizeof(std::uint64_t));
        base::die_at(base::kill_point::slot_read);
    };
    const bool too_early = base::mutated(base::mutant::fields_before_state_word);
    for (;;) {
        format::slot_cold cold{};
        if (too_early)
            copy(cold);
        // [P8] A slot means something only if its state word says so. Pairs with [P7] in region_life.cpp.
        // [P18] And its state word is believed as it stands in memory. Pairs with [P17] in recovery.cpp.
        const std::uint64_t state = load_acquire(slot.cold.state);
        const bool ignored = base::mutated(base::mutant::state_word_ignored) && format::generation_of(state) != 0;
        const auto kind = ignored ? format::slot_state::live : format::state_of(state);
        if (kind == format::slot_state::free || (live_only && kind == format::slot_state::clearing))
            return std::nullopt;
        if (!too_early)
            copy(cold);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (load_relaxed(slot.cold.state) != state)
            continue;
        cold.state = format::state_word(format::generation_of(state), kind);
        if (auto fine = format::check_cold(cold, index, file.superblock(), file.stream_bytes(), file.name()); !fine)
            return tl::unexpected(std::move(fine.error()));
        if (kind == format::slot_state::live) {
            const auto extent = file.at<format::extent_header>(cold.extent_offset);
            auto fine = format::check_extent(extent, cold, index, file.superblock(), file.name());
            if (fine && format::unknown_slot_flags(cold) == 0)
                if (auto head = read_head(file, cold, index); !head)
                    fine = tl::unexpected(std::move(head.error()));
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (load_relaxed(slot.cold.state) != state)
                continue;
            if (!fine)
                return tl::unexpected(std::move(fine.error()));
        }
        return cold;
    }
}

std::string region_text(const format::slot_cold& cold, std::uint32_t index) {
    // A copy, because the mapping is anybody's.
    const std::string name(format::name_of(format::slot_cold(cold)));
    const bool printable =
        std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c != 0x7f && c != '"'; });
    return name.empty() || !printable ? fmt::format("region slot {}", index)
                                      : fmt::format("region \"{}\" (slot {})", name, index);
}

std::uint64_t clean_epoch(const format::shared_header& header) noexcept {
    const std::uint64_t clean = load_acquire(header.identity.clean_epoch);
    return load_acquire(header.identity.epoch) == clean ? format::epoch_of(clean) : 0;
}

result<std::optional<region_info>> read_region(const stream_file& file, const format::region_slot& slot,
                                               std::uint32_t index, const format::slot_cold& cold) {
    region_info info;
    info.handle = region(index, format::generation_of(cold.state));
    info.name = format::name_of(cold);
    info.log = cold.log_id;
    info.extent = offset{cold.extent_offset};
    info.extent_bytes = cold.extent_bytes;
    info.first = sequence{cold.first_sequence};
    info.creation_ns = cold.creation_ns;
    info.unknown_flags = format::unknown_slot_flags(cold);
    if (info.unknown_flags != 0)  // what else the slot says may mean something else
        return info;
    const std::uint64_t clean = clean_epoch(file.header());
    const std::uint64_t head_bytes = head_entry_bytes(file, cold);
    const std::uint64_t begin = cold.extent_offset + sizeof(format::extent_header) + head_bytes;
    // Persisted first: read in this order, it cannot appear to be ahead of the commit offset.
    const std::uint64_t persisted_word = load_acquire(slot.persist.persisted);
    const std::uint64_t persisted = format::persisted_offset_of(persisted_word);
    const std::uint64_t persisted_sequence = load_acquire(slot.persist.sequence);
    const std::uint64_t committed = load_acquire(slot.commit.commit_offset);
    const std::uint64_t committed_sequence = load_acquire(slot.commit.sequence);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (load_relaxed(slot.cold.state) != cold.state)
        return std::nullopt;
    if (auto fine = format::check_offsets(committed, persisted, cold, head_bytes, index, file.name()); !fine)
        return tl::unexpected(std::move(fine.error()));
    const bool settled =
        persisted_word == format::persisted_word(committed, clean) && persisted_sequence == committed_sequence;
    if (!settled && clean != 0 && clean == clean_epoch(file.header()))
        return failure(errc::corrupt,
                       "{}: region slot {}: closed cleanly, yet committed ({}, sequence {}) and persisted ({}, "
                       "sequence {}, epoch {}) differ",
                       file.name(), index, committed, committed_sequence, persisted, persisted_sequence,
                       format::persisted_epoch_of(persisted_word));
    info.begin = offset{begin};
    info.size_bytes = cold.extent_offset + cold.extent_bytes - begin;
    info.used_bytes = committed - begin;
    info.committed_end = offset{committed};
    info.persisted_end = offset{persisted};
    info.committed = sequence{committed_sequence};
    info.persisted = sequence{persisted_sequence};
    return info;
}

namespace {

/// The slot that a handle names, while its generation lives. Errors: region_gone, corrupt.
result<format::slot_cold> cold_of(const stream_file& file, const region_table& table, region where) {
    if (where.index() < table.slots()) {
        auto cold = read_cold(file, table.slot(where.index()), where.index(), true);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (*cold && format::generation_of((*cold)->state) == where.generation())
            return **cold;
    }
    return gone_region(file, where);
}

}  // namespace

tl::unexpected<error> gone_region(const stream_file& file, region where) {
    return failure(errc::region_gone, "{}: region slot {}, generation {}: freed or cleared", file.name(), where.index(),
                   where.generation());
}

result<region_info> describe_region(const stream_file& file, const region_table& table, region where) {
    const auto cold = cold_of(file, table, where);
    if (!cold)
        return tl::unexpected(cold.error());
    auto info = read_region(file, table.slot(where.index()), where.index(), *cold);
    if (!info)
        return tl::unexpected(std::move(info.error()));
    if (!*info)
        return gone_region(file, where);
    return std::move(**info);
}

result<region_attributes> describe_attributes(const stream_file& file, const region_table& table, region where) {
    const auto cold = cold_of(file, table, where);
    if (!cold)
        return tl::unexpected(cold.error());
    if (auto fine = format::check_slot_flags(*cold, where.index(), file.name()); !fine)
        return tl::unexpected(std::move(fine.error()));
    const auto head = read_head(file, *cold, where.index());
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (load_relaxed(table.slot(where.index()).cold.state) != cold->state)
        return gone_region(file, where);
    if (!head)
        return tl::unexpected(head.error());
    return *head ? to_public((*head)->attributes) : region_attributes();
}

result<std::vector<region_info>> list_regions(const stream_file& file, const region_table& table) {
    std::vector<region_info> all;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto cold = read_cold(file, table.slot(i), i, true);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (!*cold)
            continue;
        auto info = read_region(file, table.slot(i), i, **cold);
        if (!info)
            return tl::unexpected(std::move(info.error()));
        if (*info)
            all.push_back(std::move(**info));
    }
    std::sort(all.begin(), all.end(),
              [](const region_info& a, const region_info& b) { return a.handle.generation() < b.handle.generation(); });
    return all;
}

result<region> find_region(const stream_file& file, const region_table& table, std::string_view name) {
    std::optional<error> damaged;
    std::optional<region> found;
    std::uint32_t newest_place = 0;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto cold = read_cold(file, table.slot(i), i, true);
        if (!cold) {
            damaged = std::move(cold.error());
            continue;
        }
        if (!*cold || name.empty() || format::name_of(**cold) != name || (found && (*cold)->place <= newest_place))
            continue;
        found = region(i, format::generation_of((*cold)->state));
        newest_place = (*cold)->place;
    }
    if (found)
        return *found;
    if (damaged)
        return tl::unexpected(std::move(*damaged));
    return failure(errc::not_found, "{}: no region is named \"{}\"", file.name(), name);
}

stream_info describe_superblock(const stream_file& file) {
    const auto& superblock = file.superblock();
    stream_info info;
    info.file = file.name();
    info.format_version = superblock.version;
    info.uuid = superblock.uuid;
    info.creation_ns = superblock.creation_ns;
    info.stream_bytes = file.stream_bytes();
    info.stream_bytes_max = superblock.stream_bytes_max;
    info.block_bytes = superblock.block_bytes;
    info.granularity = file.medium().granularity();
    info.granularity_forced = file.medium().granularity_forced();
    return info;
}

stream_info describe_stream(const stream_file& file, const region_table& table) {
    const auto& header = file.header();
    stream_info info = describe_superblock(file);
    info.region_slots = table.slots();
    for (std::uint32_t i = 0; i < table.slots(); ++i)
        if (format::state_of(load_acquire(table.slot(i).cold.state)) != format::slot_state::free)
            ++info.regions;
    info.epoch = file.epoch();
    info.clean = clean_epoch(header) == info.epoch;
    info.lineage = load_acquire(header.identity.lineage);
    // What a writer's medium did is kept in the header: this process may live in another environment.
    const std::uint32_t medium = load_relaxed(header.identity.medium_flags);
    if (const auto kept = format::kept_in(medium, format::medium_granularity_mask, format::medium_granularity_shift)) {
        info.granularity = static_cast<granularity>(*kept);
        info.granularity_forced = (medium & format::medium_forced_flag) != 0;
    }
    if (const auto kept = format::kept_in(medium, format::medium_sync_mask, format::medium_sync_shift))
        info.synced_by = static_cast<page_sync>(*kept);
    info.persisted = sequence{load_acquire(header.persist.sequence)};
    info.committed = sequence{load_acquire(header.commit.sequence)};
    if (const auto space = compute_free_space(file, table)) {
        info.free_bytes = space->free_bytes();
        info.largest_free_bytes = space->largest_bytes();
    }
    return info;
}

}  // namespace pmemstream::core
