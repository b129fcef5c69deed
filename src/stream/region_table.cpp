#include "src/stream/region_table.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/validate.hpp"

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
        // [P8] A slot means something only if its state word says so. Pairs with [P7] in recovery.cpp.
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
    const std::uint64_t clean = clean_epoch(file.header());
    // Persisted first: read in this order, it cannot appear to be ahead of the commit offset.
    const std::uint64_t persisted_word = load_acquire(slot.persist.persisted);
    const std::uint64_t persisted = format::persisted_offset_of(persisted_word);
    const std::uint64_t persisted_sequence = load_acquire(slot.persist.sequence);
    const std::uint64_t committed = load_acquire(slot.commit.commit_offset);
    const std::uint64_t committed_sequence = load_acquire(slot.commit.sequence);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (load_relaxed(slot.cold.state) != cold.state)
        return std::nullopt;
    if (auto fine = format::check_offsets(committed, persisted, cold, index, file.name()); !fine)
        return tl::unexpected(std::move(fine.error()));
    const bool settled =
        persisted_word == format::persisted_word(committed, clean) && persisted_sequence == committed_sequence;
    if (!settled && clean != 0 && clean == clean_epoch(file.header()))
        return failure(errc::corrupt,
                       "{}: region slot {}: closed cleanly, yet committed ({}, sequence {}) and persisted ({}, "
                       "sequence {}, epoch {}) differ",
                       file.name(), index, committed, committed_sequence, persisted, persisted_sequence,
                       format::persisted_epoch_of(persisted_word));
    region_info info;
    info.handle = region(index, format::generation_of(cold.state));
    info.name = format::name_of(cold);
    info.extent = offset{cold.extent_offset};
    info.extent_bytes = cold.extent_bytes;
    info.begin = offset{cold.extent_offset + sizeof(format::extent_header)};
    info.size_bytes = cold.extent_bytes - sizeof(format::extent_header);
    info.used_bytes = committed - to_uint(info.begin);
    info.committed_end = offset{committed};
    info.persisted_end = offset{persisted};
    info.first = sequence{cold.first_sequence};
    info.committed = sequence{committed_sequence};
    info.persisted = sequence{persisted_sequence};
    info.creation_ns = cold.creation_ns;
    return info;
}

result<region_info> describe_region(const stream_file& file, const region_table& table, region where) {
    if (where.index() < table.slots()) {
        const auto& slot = table.slot(where.index());
        auto cold = read_cold(file, slot, where.index(), true);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (*cold && format::generation_of((*cold)->state) == where.generation()) {
            auto info = read_region(file, slot, where.index(), **cold);
            if (!info)
                return tl::unexpected(std::move(info.error()));
            if (*info)
                return std::move(**info);
        }
    }
    return failure(errc::region_gone, "{}: region slot {}, generation {}: freed or cleared", file.name(), where.index(),
                   where.generation());
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
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto cold = read_cold(file, table.slot(i), i, true);
        if (!cold) {
            damaged = std::move(cold.error());
            continue;
        }
        if (*cold && !name.empty() && format::name_of(**cold) == name)
            return region(i, format::generation_of((*cold)->state));
    }
    if (damaged)
        return tl::unexpected(std::move(*damaged));
    return failure(errc::not_found, "{}: no region is named \"{}\"", file.name(), name);
}

free_space::free_space(std::uint64_t begin, std::uint64_t end) {
    if (begin < end)
        runs_.emplace(begin, end - begin);
}

bool free_space::take(std::uint64_t offset, std::uint64_t bytes) {
    auto run = runs_.upper_bound(offset);
    if (run == runs_.begin())
        return false;
    --run;
    const auto [begin, length] = *run;
    if (offset - begin > length || bytes > length - (offset - begin))
        return false;
    runs_.erase(run);
    if (offset > begin)
        runs_.emplace(begin, offset - begin);
    if (begin + length > offset + bytes)
        runs_.emplace(offset + bytes, begin + length - offset - bytes);
    return true;
}

std::optional<std::uint64_t> free_space::find(std::uint64_t bytes) const {
    const auto run = std::find_if(runs_.begin(), runs_.end(), [bytes](const auto& r) { return r.second >= bytes; });
    return run == runs_.end() ? std::nullopt : std::optional(run->first);
}

void free_space::give_back(std::uint64_t offset, std::uint64_t bytes) {
    auto after = runs_.lower_bound(offset);
    if (after != runs_.end() && offset + bytes == after->first) {
        bytes += after->second;
        after = runs_.erase(after);
    }
    if (after != runs_.begin()) {
        const auto before = std::prev(after);
        if (before->first + before->second == offset) {
            before->second += bytes;
            return;
        }
    }
    runs_.emplace(offset, bytes);
}

std::uint64_t free_space::free_bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [offset, bytes] : runs_)
        sum += bytes;
    return sum;
}

std::uint64_t free_space::largest_bytes() const noexcept {
    std::uint64_t largest = 0;
    for (const auto& [offset, bytes] : runs_)
        largest = std::max(largest, bytes);
    return largest;
}

namespace {
result<free_space> add_up_space(const stream_file& file, const region_table& table) {
    const auto overlap = [&](const char* what, std::uint64_t index, std::uint64_t offset, std::uint64_t bytes) {
        return failure(errc::corrupt, "{}: {} {} ({} bytes at offset {}) lies over something else", file.name(), what,
                       index, bytes, offset);
    };
    free_space space(file.superblock().data_offset, file.stream_bytes());
    for (std::size_t i = 1; i < table.segments().size(); ++i)
        if (const auto& s = table.segments()[i]; !space.take(s.offset, s.bytes))
            return overlap("table segment", i, s.offset, s.bytes);
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto cold = read_cold(file, table.slot(i), i, false);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (*cold && !space.take((*cold)->extent_offset, (*cold)->extent_bytes))
            return overlap("the extent of region slot", i, (*cold)->extent_offset, (*cold)->extent_bytes);
    }
    return space;
}
}  // namespace

result<free_space> compute_free_space(const stream_file& file, const region_table& table) {
    // Beside a live writer an extent may move from one slot to another between two looks, which seems an overlap.
    constexpr int tries = 16;
    auto space = add_up_space(file, table);
    for (int i = 1; i < tries && !space; ++i)
        space = add_up_space(file, table);
    return space;
}

result<std::vector<extent_info>> list_extents(const stream_file& file, const region_table& table) {
    auto space = compute_free_space(file, table);
    if (!space)
        return tl::unexpected(std::move(space.error()));
    auto regions = list_regions(file, table);
    if (!regions)
        return tl::unexpected(std::move(regions.error()));
    std::vector<extent_info> all;
    all.push_back({extent_info::use::metadata, offset{0}, file.superblock().data_offset, {}});
    for (std::size_t i = 1; i < table.segments().size(); ++i)
        all.push_back(
            {extent_info::use::table_segment, offset{table.segments()[i].offset}, table.segments()[i].bytes, {}});
    for (const auto& r : *regions)
        all.push_back({extent_info::use::region, r.extent, r.extent_bytes, r.handle});
    for (const auto& [begin, bytes] : space->runs())
        all.push_back({extent_info::use::free, offset{begin}, bytes, {}});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    return all;
}

stream_info describe_superblock(const stream_file& file) {
    const auto& superblock = file.superblock();
    stream_info info;
    info.file = file.name();
    info.format_version = superblock.version;
    info.uuid = superblock.uuid;
    info.creation_ns = superblock.creation_ns;
    info.stream_bytes = file.stream_bytes();
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
