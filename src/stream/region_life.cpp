#include "src/stream/region_life.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/base/wall_clock.hpp"
#include "src/format/entry.hpp"
#include "src/format/validate.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>

namespace pmemstream::core {

using base::load_relaxed;
using base::store_relaxed;
using base::store_release;

namespace {

/// The first entry of a region, as it lies there.
struct first_entry {
    format::entry_header header{};
    std::uint64_t offset = 0;
    std::uint64_t room = 0;
    const std::byte* payload = nullptr;
};

first_entry look_at_first(const stream_file& file, const format::slot_cold& cold) noexcept {
    first_entry first;
    first.offset = cold.extent_offset + sizeof(format::extent_header);
    first.room = cold.extent_bytes - sizeof(format::extent_header);
    const auto& header = file.at<format::entry_header>(first.offset);
    first.header = {load_relaxed(header.payload_bytes), load_relaxed(header.crc), load_relaxed(header.meta)};
    first.payload = file.bytes_at(first.offset + sizeof header);
    return first;
}

bool fits(const first_entry& first) noexcept {
    return format::entry_bytes(first.header.payload_bytes) <= first.room;
}

/// Returns how many bytes it takes.
std::uint64_t write_head(const stream_file& file, std::uint64_t offset, const region_birth& birth) {
    const auto payload = format::encode_head(birth.head);
    const auto payload_bytes = static_cast<std::uint32_t>(payload.size());
    const std::uint64_t meta =
        format::entry_meta::system(format::system_type::head) | format::entry_meta::epoch_bits(birth.epoch);
    const std::uint32_t seed = format::entry_crc_seed(file.superblock().uuid, birth.generation);
    const std::uint32_t state = base::crc32c_extend(seed, payload.data(), payload.size());
    // Where a region is cleared, name and attributes are stored over themselves: nothing may take their place for a moment,
    // because the opening that finishes a clearing has them from there.
    std::byte* const to = file.bytes_at(offset) + sizeof(format::entry_header);
    std::memcpy(to, payload.data(), payload.size());
    std::memset(to + payload.size(), 0,
                format::entry_bytes(payload_bytes) - sizeof(format::entry_header) - payload.size());
    file.at<format::entry_header>(offset) = {payload_bytes,
                                             format::entry_crc(state, payload_bytes, birth.epoch, meta, offset), meta};
    return format::entry_bytes(payload_bytes);
}

}  // namespace

result<void> bring_to_life(stream_file& file, format::region_slot& slot, const region_birth& birth,
                           base::kill_point prepared) {
    auto& cold = slot.cold;
    const std::uint64_t log_id = birth.head.log_id == 0 ? birth.generation : birth.head.log_id;
    auto& extent = file.at<format::extent_header>(cold.extent_offset);
    extent = format::extent_header{.magic = format::magic_extent,
                                   .uuid = file.superblock().uuid,
                                   .generation = birth.generation,
                                   .extent_bytes = cold.extent_bytes,
                                   .first_sequence = birth.first_sequence,
                                   .extent_offset = cold.extent_offset,
                                   .flags = cold.flags,
                                   .crc = 0};
    extent.crc = format::extent_crc(extent);
    std::uint64_t begin = cold.extent_offset + sizeof(format::extent_header);
    if ((cold.flags & format::slot_flag_headless) == 0) {
        auto with_log = birth;
        with_log.head.log_id = log_id;
        begin += write_head(file, begin, with_log);
    }
    const std::uint64_t zeroed =
        std::min<std::uint64_t>(sizeof(format::entry_header), cold.extent_offset + cold.extent_bytes - begin);
    std::memset(file.bytes_at(begin), 0, zeroed);
    if (!base::mutated(base::mutant::extent_not_durable))
        if (auto done = file.medium().persist(cold.extent_offset, begin + zeroed - cold.extent_offset); !done)
            return done;
    store_relaxed(cold.first_sequence, birth.first_sequence);
    store_relaxed(cold.creation_ns, base::wall_clock_ns());
    store_relaxed(cold.log_id, log_id);
    store_relaxed(cold.place_crc, format::place_crc(cold));
    store_relaxed(cold.crc, format::cold_crc(cold, birth.generation));
    store_relaxed(slot.commit.sequence, std::uint64_t{0});
    store_relaxed(slot.commit.mark_offset, std::uint64_t{0});
    store_relaxed(slot.commit.successor, std::uint64_t{0});
    // Of a later region of a log the roll stores it.
    store_relaxed(slot.commit.first_index, cold.place == 0 ? format::index_word(0) : 0);
    store_relaxed(slot.commit.commit_offset, begin);
    store_relaxed(slot.persist.sequence, std::uint64_t{0});
    store_relaxed(slot.persist.mark_offset, std::uint64_t{0});
    store_relaxed(slot.persist.persisted, format::persisted_word(begin, birth.epoch));
    // [P7] Slot and extent are durable before the state word makes a region of them. Pairs with [P8] in
    //      region_table.cpp.
    //      Without it: after power loss a live region has torn fields, or the entries of an earlier use.
    if (!base::mutated(base::mutant::slot_not_durable))
        if (auto done = file.persist(slot); !done)
            return done;
    base::die_at(prepared);
    store_release(cold.state, format::state_word(birth.generation, format::slot_state::live));
    note_table_change(file);
    return file.persist(cold);
}

void note_table_change(stream_file& file) noexcept {
    auto& changes = file.header().features.table_changes;
    store_release(changes, load_relaxed(changes) + 1);
}

std::uint64_t head_entry_bytes(const stream_file& file, const format::slot_cold& cold) noexcept {
    const auto first = look_at_first(file, cold);
    return format::head_entry_bytes(first.header, first.room);
}

result<std::optional<format::region_head>> read_head(const stream_file& file, const format::slot_cold& cold,
                                                     std::uint32_t index) {
    if ((cold.flags & format::slot_flag_headless) != 0)
        return std::nullopt;
    const auto first = look_at_first(file, cold);
    const std::uint32_t seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(cold.state));
    const auto checked = format::check_entry(
        first.header, {.offset = first.offset, .room = first.room, .previous_sequence = 0, .crc_seed = seed},
        [&](std::uint64_t meta) { return format::epochs_of(meta, 0, file.newest_possible_epoch()); },
        [&](const format::entry_header& header, std::uint32_t from) {
            return format::payload_crc_state(first.payload - sizeof header, header.payload_bytes, header.meta, from);
        });
    std::optional<format::region_head> head;
    if (checked.fault == format::entry_fault::none && format::entry_meta::is_system(first.header.meta) &&
        format::entry_meta::type(first.header.meta) == format::system_type::head)
        head = format::decode_head({first.payload, first.header.payload_bytes});
    const std::string_view name = format::name_of(cold);
    if (!head || head->log_id != cold.log_id || head->place != cold.place || head->name != name)
        return base::failure(
            errc::corrupt, "{}: the head of region slot {} at offset {} is damaged: {}", file.name(), index,
            first.offset,
            checked.fault == format::entry_fault::none ? "it is another region's" : format::to_string(checked.fault));
    return head;
}

std::vector<format::attribute> attributes_of_cleared(const stream_file& file, const format::slot_cold& cold) {
    const auto first = look_at_first(file, cold);
    if ((cold.flags & format::slot_flag_headless) != 0 || !fits(first))
        return {};
    const auto head = format::decode_head({first.payload, first.header.payload_bytes});
    return head && head->name == format::name_of(cold) ? head->attributes : std::vector<format::attribute>();
}

region_attributes to_public(const std::vector<format::attribute>& attributes) {
    region_attributes all;
    for (const auto& attribute : attributes) {
        if (attribute.kind == format::attribute_kind::content_type)
            all.content_type = attribute.value;
        else if (attribute.kind == format::attribute_kind::user)
            all.values.emplace_back(attribute.key, attribute.value);
    }
    return all;
}

std::vector<format::attribute> from_public(const region_attributes& attributes) {
    std::vector<format::attribute> all;
    if (!attributes.content_type.empty())
        all.push_back({format::attribute_kind::content_type, {}, attributes.content_type});
    for (const auto& [key, value] : attributes.values)
        all.push_back({format::attribute_kind::user, key, value});
    return all;
}

std::optional<std::uint64_t> overhead_bytes(const format::region_head& head) noexcept {
    const auto payload_bytes = format::head_payload_bytes(head);
    if (!payload_bytes)
        return std::nullopt;
    return sizeof(format::extent_header) + format::entry_bytes(*payload_bytes);
}

}  // namespace pmemstream::core

namespace pmemstream {

std::uint64_t region_overhead_bytes(std::string_view name, const region_attributes& attributes) noexcept {
    const format::region_head head{.log_id = 0,
                                   .predecessor_generation = 0,
                                   .place = 0,
                                   .name = std::string(name),
                                   .attributes = core::from_public(attributes)};
    return core::overhead_bytes(head).value_or(std::numeric_limits<std::uint64_t>::max());
}

}  // namespace pmemstream
