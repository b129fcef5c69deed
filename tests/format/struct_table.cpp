#include "src/base/crc32c.hpp"
#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "src/format/system_entry.hpp"

#include <pmemstream/types.hpp>

#include <fmt/format.h>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

// Prints what docs/format.md has to say of the structs, for doc_struct_check.py.
namespace {

using namespace pmemstream;
using namespace pmemstream::format;

#define FIELD(type, field) fmt::print("field {} {} {} {}\n", #type, #field, offsetof(type, field), sizeof(type::field))
#define STRUCT(type) fmt::print("struct {} {}\n", #type, sizeof(type))
#define CONSTANT(name, ...) fmt::print("constant {} {}\n", name, static_cast<std::uint64_t>(__VA_ARGS__))

void print_header_structs() {
    STRUCT(superblock);
    FIELD(superblock, magic);
    FIELD(superblock, version);
    FIELD(superblock, struct_bytes);
    FIELD(superblock, block_bytes);
    FIELD(superblock, initial_stream_bytes);
    FIELD(superblock, stream_bytes_max);
    FIELD(superblock, first_segment_slots);
    FIELD(superblock, slot_bytes);
    FIELD(superblock, uuid);
    FIELD(superblock, creation_ns);
    FIELD(superblock, header_offset);
    FIELD(superblock, table_offset);
    FIELD(superblock, data_offset);
    FIELD(superblock, reserved);
    FIELD(superblock, crc);
    STRUCT(shared_header);
    FIELD(shared_header, identity);
    FIELD(shared_header, commit);
    FIELD(shared_header, persist);
    FIELD(shared_header, wake);
    FIELD(shared_header, features);
    STRUCT(identity_line);
    FIELD(identity_line, epoch);
    FIELD(identity_line, clean_epoch);
    FIELD(identity_line, boot_id);
    FIELD(identity_line, st_dev);
    FIELD(identity_line, st_ino);
    FIELD(identity_line, control_nonce);
    FIELD(identity_line, writer_pid);
    FIELD(identity_line, barrier_mode);
    FIELD(identity_line, medium_flags);
    FIELD(identity_line, lineage_pending);
    FIELD(identity_line, lineage);
    FIELD(identity_line, previous_lineage);
    FIELD(identity_line, previous_epoch);
    FIELD(identity_line, reserved);
    STRUCT(stream_commit_line);
    FIELD(stream_commit_line, sequence);
    FIELD(stream_commit_line, reserved);
    STRUCT(stream_persist_line);
    FIELD(stream_persist_line, sequence);
    FIELD(stream_persist_line, reserved);
    STRUCT(stream_wake_line);
    FIELD(stream_wake_line, committed);
    FIELD(stream_wake_line, persisted);
    FIELD(stream_wake_line, reserved);
    STRUCT(feature_line);
    FIELD(feature_line, compatible);
    FIELD(feature_line, read_compatible);
    FIELD(feature_line, incompatible);
    FIELD(feature_line, stream_bytes);
    FIELD(feature_line, table_changes);
    FIELD(feature_line, reserved);
}

void print_table_structs() {
    STRUCT(segment_header);
    FIELD(segment_header, magic);
    FIELD(segment_header, index);
    FIELD(segment_header, slots);
    FIELD(segment_header, segment_bytes);
    FIELD(segment_header, crc);
    FIELD(segment_header, reserved0);
    FIELD(segment_header, next);
    FIELD(segment_header, reserved);
    STRUCT(region_slot);
    FIELD(region_slot, cold);
    FIELD(region_slot, commit);
    FIELD(region_slot, persist);
    STRUCT(slot_cold);
    FIELD(slot_cold, state);
    FIELD(slot_cold, extent_offset);
    FIELD(slot_cold, extent_bytes);
    FIELD(slot_cold, first_sequence);
    FIELD(slot_cold, creation_ns);
    FIELD(slot_cold, log_id);
    FIELD(slot_cold, place);
    FIELD(slot_cold, flags);
    FIELD(slot_cold, place_crc);
    FIELD(slot_cold, crc);
    FIELD(slot_cold, name);
    STRUCT(slot_commit_line);
    FIELD(slot_commit_line, commit_offset);
    FIELD(slot_commit_line, sequence);
    FIELD(slot_commit_line, wake);
    FIELD(slot_commit_line, reserved0);
    FIELD(slot_commit_line, mark_offset);
    FIELD(slot_commit_line, successor);
    FIELD(slot_commit_line, first_index);
    FIELD(slot_commit_line, reserved);
    STRUCT(slot_persist_line);
    FIELD(slot_persist_line, persisted);
    FIELD(slot_persist_line, sequence);
    FIELD(slot_persist_line, wake);
    FIELD(slot_persist_line, reserved0);
    FIELD(slot_persist_line, mark_offset);
    FIELD(slot_persist_line, reserved);
}

void print_data_structs() {
    STRUCT(extent_header);
    FIELD(extent_header, magic);
    FIELD(extent_header, uuid);
    FIELD(extent_header, generation);
    FIELD(extent_header, extent_bytes);
    FIELD(extent_header, first_sequence);
    FIELD(extent_header, extent_offset);
    FIELD(extent_header, flags);
    FIELD(extent_header, crc);
    STRUCT(entry_header);
    FIELD(entry_header, payload_bytes);
    FIELD(entry_header, crc);
    FIELD(entry_header, meta);
    STRUCT(head_payload);
    FIELD(head_payload, log_id);
    FIELD(head_payload, predecessor_generation);
    FIELD(head_payload, place);
    FIELD(head_payload, name_bytes);
    FIELD(head_payload, attribute_count);
    FIELD(head_payload, attributes_bytes);
    FIELD(head_payload, text_crc);
    STRUCT(attribute_header);
    FIELD(attribute_header, kind);
    FIELD(attribute_header, key_bytes);
    FIELD(attribute_header, value_bytes);
    STRUCT(mark_payload);
    FIELD(mark_payload, time_us);
    FIELD(mark_payload, clock_us);
    FIELD(mark_payload, index);
    FIELD(mark_payload, sequence);
    FIELD(mark_payload, epoch);
    FIELD(mark_payload, previous);
    FIELD(mark_payload, jump);
}

void print_bits(std::string_view name, std::uint64_t mask) {
    fmt::print("bits {} {} {}\n", name, std::countr_zero(mask), std::popcount(mask));
}

void print_constants() {
    CONSTANT("magic_stream", magic_stream);
    CONSTANT("magic_segment", magic_segment);
    CONSTANT("magic_extent", magic_extent);
    CONSTANT("version", version);
    CONSTANT("superblock_offset", superblock_offset);
    CONSTANT("sector_bytes", sector_bytes);
    CONSTANT("header_offset", header_offset);
    CONSTANT("first_segment_offset", first_segment_offset);
    CONSTANT("first_slots_offset", first_slots_offset);
    CONSTANT("line_bytes", line_bytes);
    CONSTANT("page_bytes", page_bytes);
    CONSTANT("block_bytes_min", block_bytes_min);
    CONSTANT("block_bytes_max", block_bytes_max);
    CONSTANT("stream_bytes_max", stream_bytes_max);
    CONSTANT("region_slots_max", region_slots_max);
    CONSTANT("epoch_max", epoch_max);
    CONSTANT("sequence_max", sequence_max);
    CONSTANT("payload_bytes_max", payload_bytes_max);
    CONSTANT("generation_max", generation_max);
    CONSTANT("medium_error_flag", medium_error_flag);
    CONSTANT("medium_forced_flag", medium_forced_flag);
    CONSTANT("medium_granularity_mask", medium_granularity_mask);
    CONSTANT("medium_sync_mask", medium_sync_mask);
    CONSTANT("barrier_mode_membarrier", barrier_mode::membarrier);
    CONSTANT("barrier_mode_fence", barrier_mode::fence);
    CONSTANT("slot_state_free", slot_state::free);
    CONSTANT("slot_state_live", slot_state::live);
    CONSTANT("slot_state_clearing", slot_state::clearing);
    CONSTANT("slot_flags_ignorable", slot_flags_ignorable);
    CONSTANT("slot_flags_required", slot_flags_required);
    CONSTANT("slot_flag_rolls", slot_flag_rolls);
    CONSTANT("slot_flag_headless", slot_flag_headless);
    CONSTANT("system_type_filler", system_type::filler);
    CONSTANT("system_type_head", system_type::head);
    CONSTANT("system_type_time", system_type::time);
    CONSTANT("system_type_mark", system_type::mark);
    CONSTANT("system_type_lost", system_type::lost);
    CONSTANT("attribute_user", attribute_kind::user);
    CONSTANT("attribute_content_type", attribute_kind::content_type);
    CONSTANT("head_text_bytes_max", head_text_bytes_max);
    CONSTANT("segment_link_tag", segment_link_tag);
    CONSTANT("segment_link_mask", segment_link_mask);
}

void print_test_vectors() {
    std::array<std::byte, 16> uuid{};
    for (std::size_t i = 0; i < uuid.size(); ++i)
        uuid[i] = static_cast<std::byte>(i);
    constexpr std::uint64_t offset = 8128;
    const std::uint32_t seed = entry_crc_seed(uuid, 7);
    const std::uint64_t meta = 3 | entry_meta::epoch_bits(2);
    const std::uint64_t filler_meta = entry_meta::system(system_type::filler) | entry_meta::epoch_bits(2);
    constexpr std::string_view payload = "hello";
    fmt::print("vector crc32c 0x{:08X}\n", base::crc32c("123456789", 9));
    fmt::print("vector data_meta 0x{:016x}\n", meta);
    fmt::print("vector data_crc 0x{:08x}\n",
               entry_crc(base::crc32c_extend(seed, payload.data(), payload.size()), 5, 2, meta, offset));
    fmt::print("vector filler_meta 0x{:016x}\n", filler_meta);
    fmt::print("vector filler_crc 0x{:08x}\n", entry_crc(seed, 5, 2, filler_meta, offset));
}

}  // namespace

int main() {
    print_header_structs();
    print_table_structs();
    print_data_structs();
    print_bits("sequence", entry_meta::sequence_mask);
    print_bits("epoch", entry_meta::epoch_bits(0xff));
    print_bits("system", entry_meta::system_bit);
    print_bits("more", entry_meta::more_bit);
    print_bits("reserved", entry_meta::reserved_mask);
    print_constants();
    print_test_vectors();
}
