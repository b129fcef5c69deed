#include "ipc/reader_control.hpp"
#include "src/base/checked.hpp"
#include "src/base/crc32c.hpp"
#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/format/validate.hpp"
#include "src/recovery/recovery.hpp"
#include "src/stream/region_life.hpp"
#include "src/writer/writer_impl.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <cstring>

// Allocating, freeing and clearing: rare, durable when they return, and each decided by one store of a state word.
namespace pmemstream {

using base::failure;
using base::load_relaxed;
using base::store_relaxed;
using base::store_release;

void writer::impl::open_regions() {
    regions.clear();
    claims.clear();
    use_regions();  // also for a stream without a region
    next_generation = 1;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        const std::uint64_t state = load_relaxed(table.slot(i).cold.state);
        next_generation = std::max(next_generation, format::generation_of(state) + 1);
        if (format::state_of(state) == format::slot_state::live)
            open_region(i);
    }
}

/// Makes room for what the table has, and lets appends be inlined where they can be.
void writer::impl::use_regions() noexcept {
    regions.resize(table.slots());
    claims.resize(table.slots());
    hot.regions = regions.data();
    // Until a region is opened anew, no more entries fit than if all of the stream were empty ones.
    const std::uint64_t entries_max = file->stream_bytes() / sizeof(format::entry_header);
    const bool enough_sequences =
        hot.next_sequence <= format::sequence_max && format::sequence_max - hot.next_sequence > entries_max;
    const bool simple = !bell->fenced() && !all_durable && usable();
    hot.copy_long = long_copy();
    hot.regions_inline = simple && enough_sequences && base::crc32c_has_multiplication() ? table.slots() : 0;
}

void writer::impl::open_region(std::uint32_t index) {
    auto& slot = table.slot(index);
    detail::append_region region;
    region.state = load_relaxed(slot.cold.state);
    region.committed = load_relaxed(slot.commit.commit_offset);
    region.end = slot.cold.extent_offset + slot.cold.extent_bytes;
    region.limit = region.end;
    region.commit_line = &slot.commit.commit_offset;
    region.crc_seed = format::entry_crc_seed(file->superblock().uuid, format::generation_of(region.state));
    region.door_offset = ipc::doorbell::door_offset(index);
    regions[index] = region;
    claims[index] = std::make_unique<core::claim_ring>();
    use_regions();
}

result<region> writer::impl::allocate(std::uint64_t size_bytes, std::string_view name,
                                      const region_attributes& attributes) {
    core::region_birth birth{.generation = next_generation,
                             .first_sequence = hot.next_sequence,
                             .epoch = epoch,
                             .head = {.log_id = 0,
                                      .predecessor_generation = 0,
                                      .place = 0,
                                      .name = std::string(name),
                                      .attributes = core::from_public(attributes)}};
    for (auto value = attributes.values.begin(); value != attributes.values.end(); ++value)
        if (value->first.empty() || std::any_of(attributes.values.begin(), value,
                                                [&](const auto& earlier) { return earlier.first == value->first; }))
            return failure(errc::invalid_argument, "{}: an attribute of a region has no key, or another's: \"{}\"",
                           file->name(), value->first);
    const auto overhead = core::overhead_bytes(birth.head);
    if (!overhead)
        return failure(errc::too_large, "{}: name and attributes of a region take more than {} bytes", file->name(),
                       region_attributes_bytes_max);
    if (name.size() > region_name_bytes_max || name.find('\0') != std::string_view::npos)
        return failure(errc::invalid_argument, "{}: a region's name has at most {} bytes and no NUL", file->name(),
                       region_name_bytes_max);
    if (!name.empty() && core::find_region(*file, table, name))
        return failure(errc::duplicate_name, "{}: a region named \"{}\" is there already", file->name(), name);
    if (size_bytes < sizeof(format::entry_header))
        return failure(errc::too_small, "{}: a region of {} bytes; an empty entry takes {}", file->name(), size_bytes,
                       sizeof(format::entry_header));
    const std::uint64_t block_bytes = file->superblock().block_bytes;
    const auto needed = base::checked_add(size_bytes, *overhead);
    const auto extent_bytes = needed ? base::checked_round_up(*needed, block_bytes) : std::nullopt;
    if (!extent_bytes || *extent_bytes > file->stream_bytes())
        return failure(errc::too_large, "{}: a region of {} bytes in a stream of {}", file->name(), size_bytes,
                       file->stream_bytes());
    if (next_generation > format::generation_max)
        return refuse_generations();
    if (auto refused = flusher->failure())
        return tl::unexpected(std::move(*refused));
    const auto index = free_slot();
    if (!index)
        return tl::unexpected(index.error());
    const auto place = space->find(*extent_bytes);
    if (!place)
        return failure(errc::exhausted, "{}: no {} bytes in a row are free; the longest run has {}", file->name(),
                       *extent_bytes, space->largest_bytes());

    const durability::flusher::pause pause(*flusher);
    auto& slot = table.slot(*index);
    auto& cold = slot.cold;
    store_relaxed(cold.extent_offset, *place);
    store_relaxed(cold.extent_bytes, *extent_bytes);
    store_relaxed(cold.place, 0u);
    store_relaxed(cold.flags, 0u);
    for (std::size_t i = 0; i < cold.name.size(); ++i)
        store_relaxed(cold.name[i], i < name.size() ? name[i] : '\0');
    const std::uint64_t generation = next_generation++;
    auto done = note_medium(core::bring_to_life(*file, slot, birth, base::kill_point::allocate_prepared));
    // Whether or not the state word became durable: in this process it says "live".
    if (format::state_of(load_relaxed(cold.state)) == format::slot_state::live) {
        (void)space->take(*place, *extent_bytes);
        open_region(*index);
    }
    if (!done)
        return tl::unexpected(std::move(done.error()));
    base::die_at(base::kill_point::allocate_done);
    return region(*index, generation);
}

tl::unexpected<error> writer::impl::refuse_generations() const {
    return failure(errc::exhausted, "{}: all generations up to {} are used", file->name(), format::generation_max);
}

result<std::uint32_t> writer::impl::free_slot() {
    const auto first_free = [this]() -> std::optional<std::uint32_t> {
        for (std::uint32_t i = 0; i < table.slots(); ++i)
            if (format::state_of(load_relaxed(table.slot(i).cold.state)) == format::slot_state::free)
                return i;
        return std::nullopt;
    };
    if (const auto index = first_free())
        return *index;
    if (auto added = add_segment(); !added)
        return tl::unexpected(std::move(added.error()));
    return *first_free();
}

result<void> writer::impl::add_segment() {
    // As many again as there are: so few segments hold many slots, and a small stream gives little away.
    const std::uint64_t slots_wanted = std::clamp<std::uint64_t>(table.slots(), 16, 1024);
    const std::uint64_t bytes = base::round_up(
        sizeof(format::segment_header) + slots_wanted * sizeof(format::region_slot), file->superblock().block_bytes);
    const std::uint64_t slots =
        std::min<std::uint64_t>((bytes - sizeof(format::segment_header)) / sizeof(format::region_slot), 1024);
    if (table.slots() + slots > format::region_slots_max)
        return failure(errc::exhausted, "{}: the region table has {} slots and may not grow further", file->name(),
                       table.slots());
    const auto place = space->find(bytes);
    if (!place)
        return failure(
            errc::exhausted,
            "{}: the region table is full, and no {} bytes in a row are free for more of it; the longest run "
            "has {}",
            file->name(), bytes, space->largest_bytes());
    const durability::flusher::pause pause(*flusher);
    auto& last = file->at<format::segment_header>(table.segments().back().offset);
    auto& segment = file->at<format::segment_header>(*place);
    const std::uint64_t written = sizeof segment + slots * sizeof(format::region_slot);
    std::memset(file->bytes_at(*place), 0, written);
    segment.magic = format::magic_segment;
    segment.index = static_cast<std::uint32_t>(table.segments().size());
    segment.slots = static_cast<std::uint32_t>(slots);
    segment.segment_bytes = bytes;
    segment.crc = format::segment_crc(segment);
    // [P3] The segment is zeroed and durable before anything leads to it. Pairs with [P4] in region_table.cpp.
    //      Without it: after power loss old payload is taken for region slots.
    if (!base::mutated(base::mutant::segment_not_durable))
        if (auto done = note_medium(file->medium().persist(*place, written)); !done)
            return done;
    base::die_at(base::kill_point::table_segment_written);
    store_release(last.next, *place | format::segment_link_tag);
    (void)space->take(*place, bytes);
    {
        const std::lock_guard guard(table_mutex);
        if (auto done = table.refresh(*file); !done)
            return done;
    }
    flusher->use(slots_of_table());
    use_regions();
    return note_medium(file->persist(last));
}

result<void> writer::impl::check_free_of_users(region where) const {
    if (regions[where.index()].limit == 0)
        return failure(errc::reservation_open, "{}: region slot {} has an open reservation", file->name(),
                       where.index());
    const auto control = bell->control();
    if (!control || control->lost())
        return {};
    const std::uint64_t newest = load_relaxed(table.slot(where.index()).commit.sequence);
    for (const auto& reader : ipc::registered_readers(*control, control->fd())) {
        const bool reads = reader.all_regions ? newest > reader.position : reader.where == where;
        if (reader.alive && reads)
            return failure(errc::pinned, "{}: region slot {} is read by \"{}\" (pid {}, reader slot {})", file->name(),
                           where.index(), reader.name, reader.pid, reader.slot);
    }
    return {};
}

std::vector<format::region_slot*> writer::impl::slots_of_table() const {
    std::vector<format::region_slot*> slots;
    for (std::uint32_t i = 0; i < table.slots(); ++i)
        slots.push_back(&table.slot(i));
    return slots;
}

void writer::impl::ring_sleepers(std::uint32_t index) noexcept {
    bell->ring(table.slot(index).commit.wake);
    bell->ring(table.slot(index).persist.wake);
    if (index >= ipc::region_doors) {  // these sleep on the stream's words
        bell->ring(bell->stream_wake());
        bell->ring(file->header().wake.persisted);
    }
}

result<void> writer::impl::free(region where, bool force) {
    auto* const region = find_open(where);
    if (region == nullptr)
        return gone(where);
    if (auto unused = force ? result<void>() : check_free_of_users(where); !unused)
        return unused;
    base::die_at(base::kill_point::free_begin);
    const durability::flusher::pause pause(*flusher);
    // [P19] The header's committed sequence covers the region's entries before their slot may forget them. Pairs with
    //       [P20] in recovery.cpp. Without it: after power loss their sequences are given again.
    if (auto done = flusher->persist_sequence(); !done)
        return done;
    auto& slot = table.slot(where.index());
    region->state = 0;
    if (base::mutated(base::mutant::reuse_before_end))
        std::memset(hot.base + slot.cold.extent_offset + sizeof(format::extent_header), 0xff,
                    region->end - slot.cold.extent_offset - sizeof(format::extent_header));
    base::die_at(base::kill_point::free_ending);
    // [V5] release, and a fence: the generation ends before any byte of it is overwritten. Pairs with the acquire
    //      fences of [V6] in cursor.hpp and [V7] in step.hpp, which read the bytes first and the state word then.
    //      Without it: a reader takes bytes of a later use for the entry.
    store_release(slot.cold.state, format::state_word(where.generation(), format::slot_state::free));
    core::note_table_change(*file);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring_sleepers(where.index());  // whoever waits for the next entry learns that there is none
    const bool skipped = base::mutated(base::mutant::state_not_durable);
    auto done = skipped ? result<void>() : note_medium(file->persist(slot.cold));
    base::die_at(base::kill_point::free_done);
    // Not reused unless the medium has it: after power loss the region would be live again, with another's bytes in it.
    if (done)
        space->give_back(slot.cold.extent_offset, slot.cold.extent_bytes);
    return done;
}

result<region> writer::impl::clear(region where, bool force) {
    auto* const opened = find_open(where);
    if (opened == nullptr)
        return gone(where);
    if (auto unused = force ? result<void>() : check_free_of_users(where); !unused)
        return tl::unexpected(std::move(unused.error()));
    if (next_generation > format::generation_max)
        return refuse_generations();
    const durability::flusher::pause pause(*flusher);
    if (auto done = flusher->persist_sequence(); !done)  // as [P19]
        return tl::unexpected(std::move(done.error()));
    auto& slot = table.slot(where.index());
    const auto head = core::read_head(*file, slot.cold, where.index());
    if (!head)
        return tl::unexpected(head.error());
    const std::uint64_t generation = next_generation++;
    opened->state = 0;
    // As [V5] for readers; and for recovery, which finishes what the word says was begun.
    store_release(slot.cold.state, format::state_word(generation, format::slot_state::clearing));
    core::note_table_change(*file);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring_sleepers(where.index());
    if (auto done = note_medium(file->persist(slot.cold)); !done)
        return tl::unexpected(std::move(done.error()));
    base::die_at(base::kill_point::clear_marked);
    // A cleared region is a new log, of the same name and attributes.
    core::region_birth birth{.generation = generation, .first_sequence = hot.next_sequence, .epoch = epoch, .head = {}};
    if (*head) {
        birth.head.name = (*head)->name;
        birth.head.attributes = (*head)->attributes;
    }
    if (auto done = note_medium(core::bring_to_life(*file, slot, birth, base::kill_point::clear_emptied)); !done)
        return tl::unexpected(std::move(done.error()));
    open_region(where.index());
    return region(where.index(), generation);
}

}  // namespace pmemstream
