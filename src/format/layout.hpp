#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

// The structs as they lie in the file: little-endian, 8-byte aligned, unused bytes zero. docs/format.md is the
// specification; a test compares its tables with these. "Shared" words change under readers and are accessed through
// src/base/mapped.hpp only.
namespace pmemstream::format {

inline constexpr std::uint64_t magic_stream = 0x0a4d5254534d4550;   // "PEMSTRM\n"
inline constexpr std::uint64_t magic_segment = 0x0a474553534d4550;  // "PEMSSEG\n"
inline constexpr std::uint64_t magic_extent = 0x0a545845534d4550;   // "PEMSEXT\n"
inline constexpr std::uint32_t version = 1;

inline constexpr std::uint64_t superblock_offset = 0;
inline constexpr std::uint64_t sector_bytes = 512;
inline constexpr std::uint64_t header_offset = 4096;
inline constexpr std::uint64_t first_segment_offset = 4736;
inline constexpr std::uint64_t line_bytes = 128;
inline constexpr std::uint64_t page_bytes = 4096;
inline constexpr std::uint64_t block_bytes_min = 64;
inline constexpr std::uint64_t block_bytes_max = std::uint64_t{1} << 30;
/// Of any stream; the superblock of each has its own, at most this.
inline constexpr std::uint64_t stream_bytes_max = std::uint64_t{1} << 46;
inline constexpr std::uint32_t region_slots_max = 1u << 20;
/// So that a slot's number and a generation fit into one word: see successor_word().
inline constexpr std::uint64_t generation_max = (std::uint64_t{1} << 44) - 1;
/// Of a stream: how often it can be opened for writing. A limit to what a reader tries (see format::crc_matches).
inline constexpr std::uint64_t epoch_max = (std::uint64_t{1} << 24) - 1;
inline constexpr std::uint64_t sequence_max = (std::uint64_t{1} << 52) - 1;

/// At 0, alone in its page, written once.
struct superblock {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t struct_bytes;
    std::uint64_t block_bytes;
    std::uint64_t initial_stream_bytes;
    std::uint64_t stream_bytes_max;
    std::uint32_t first_segment_slots;
    std::uint32_t slot_bytes;
    std::array<std::byte, 16> uuid;
    std::uint64_t creation_ns;
    std::uint64_t header_offset;
    std::uint64_t table_offset;
    std::uint64_t data_offset;
    std::array<std::byte, 156> reserved;
    std::uint32_t crc;
};
static_assert(sizeof(superblock) == 256);
static_assert(offsetof(superblock, magic) == 0);
static_assert(offsetof(superblock, version) == 8);
static_assert(offsetof(superblock, struct_bytes) == 12);
static_assert(offsetof(superblock, block_bytes) == 16);
static_assert(offsetof(superblock, initial_stream_bytes) == 24);
static_assert(offsetof(superblock, stream_bytes_max) == 32);
static_assert(offsetof(superblock, first_segment_slots) == 40);
static_assert(offsetof(superblock, slot_bytes) == 44);
static_assert(offsetof(superblock, uuid) == 48);
static_assert(offsetof(superblock, creation_ns) == 64);
static_assert(offsetof(superblock, header_offset) == 72);
static_assert(offsetof(superblock, table_offset) == 80);
static_assert(offsetof(superblock, data_offset) == 88);
static_assert(offsetof(superblock, reserved) == 96);
static_assert(offsetof(superblock, crc) == 252);

/// Changed when a writer opens or closes, and when the control file is made anew.
struct identity_line {
    std::uint64_t epoch;        // shared; an epoch word
    std::uint64_t clean_epoch;  // shared; an epoch word
    std::array<std::byte, 16> boot_id;
    std::uint64_t st_dev;
    std::uint64_t st_ino;
    std::uint64_t control_nonce;  // shared
    std::uint32_t writer_pid;     // shared
    std::uint32_t barrier_mode;   // shared
    std::uint32_t medium_flags;
    std::uint32_t lineage_pending;
    std::uint64_t lineage;
    std::uint64_t previous_lineage;
    std::uint64_t previous_epoch;
    std::array<std::byte, 32> reserved;
};
static_assert(sizeof(identity_line) == line_bytes);
static_assert(offsetof(identity_line, epoch) == 0);
static_assert(offsetof(identity_line, clean_epoch) == 8);
static_assert(offsetof(identity_line, boot_id) == 16);
static_assert(offsetof(identity_line, st_dev) == 32);
static_assert(offsetof(identity_line, st_ino) == 40);
static_assert(offsetof(identity_line, control_nonce) == 48);
static_assert(offsetof(identity_line, writer_pid) == 56);
static_assert(offsetof(identity_line, barrier_mode) == 60);
static_assert(offsetof(identity_line, medium_flags) == 64);
static_assert(offsetof(identity_line, lineage_pending) == 68);
static_assert(offsetof(identity_line, lineage) == 72);
static_assert(offsetof(identity_line, previous_lineage) == 80);
static_assert(offsetof(identity_line, previous_epoch) == 88);
static_assert(offsetof(identity_line, reserved) == 96);

enum class barrier_mode : std::uint32_t {
    membarrier = 1,  ///< the writer registered; a reader that is about to sleep makes the barrier for both
    fence = 2,       ///< the writer fences after every commit store itself
};

/// Bits of identity_line::medium_flags. What the writer's medium makes durable at once is kept for those who only read
/// the file, in another environment: granularity + 1, so that 0 means that no writer has opened the stream yet; likewise
/// how it made pages durable, page_sync + 1.
inline constexpr std::uint32_t medium_error_flag = 1;
inline constexpr std::uint32_t medium_forced_flag = 2;
inline constexpr std::uint32_t medium_granularity_shift = 2;
inline constexpr std::uint32_t medium_granularity_mask = 3u << medium_granularity_shift;
inline constexpr std::uint32_t medium_sync_shift = 4;
inline constexpr std::uint32_t medium_sync_mask = 3u << medium_sync_shift;
/// The number that such bits keep; nothing where there is none.
[[nodiscard]] constexpr std::optional<std::uint32_t> kept_in(std::uint32_t medium_flags, std::uint32_t mask,
                                                             std::uint32_t shift) noexcept {
    const std::uint32_t kept = (medium_flags & mask) >> shift;
    return kept == 0 ? std::nullopt : std::optional(kept - 1);
}

/// Every appender writes it.
struct stream_commit_line {
    std::uint64_t sequence;  // shared
    std::array<std::byte, 120> reserved;
};
static_assert(sizeof(stream_commit_line) == line_bytes && offsetof(stream_commit_line, sequence) == 0 &&
              offsetof(stream_commit_line, reserved) == 8);

struct stream_persist_line {
    std::uint64_t sequence;  // shared
    std::array<std::byte, 120> reserved;
};
static_assert(sizeof(stream_persist_line) == line_bytes && offsetof(stream_persist_line, sequence) == 0 &&
              offsetof(stream_persist_line, reserved) == 8);

struct stream_wake_line {
    std::uint32_t committed;  // shared
    std::uint32_t persisted;  // shared
    std::array<std::byte, 120> reserved;
};
static_assert(sizeof(stream_wake_line) == line_bytes && offsetof(stream_wake_line, committed) == 0 &&
              offsetof(stream_wake_line, persisted) == 4 && offsetof(stream_wake_line, reserved) == 8);

/// What an opening writer raises, and what tells that the table or the size has changed. Most of it never changes.
struct feature_line {
    std::uint64_t compatible;       // shared; a feature word, as are the next two
    std::uint64_t read_compatible;  // shared
    std::uint64_t incompatible;     // shared
    std::uint64_t stream_bytes;     // shared; a size word
    std::uint64_t table_changes;    // shared
    std::array<std::byte, 88> reserved;
};
static_assert(sizeof(feature_line) == line_bytes);
static_assert(offsetof(feature_line, compatible) == 0);
static_assert(offsetof(feature_line, read_compatible) == 8);
static_assert(offsetof(feature_line, incompatible) == 16);
static_assert(offsetof(feature_line, stream_bytes) == 24);
static_assert(offsetof(feature_line, table_changes) == 32);
static_assert(offsetof(feature_line, reserved) == 40);

/// At 4096.
struct shared_header {
    identity_line identity;
    stream_commit_line commit;
    stream_persist_line persist;
    stream_wake_line wake;
    feature_line features;
};
static_assert(sizeof(shared_header) == 640);
static_assert(offsetof(shared_header, identity) == 0);
static_assert(offsetof(shared_header, commit) == 128);
static_assert(offsetof(shared_header, persist) == 256);
static_assert(offsetof(shared_header, wake) == 384);
static_assert(offsetof(shared_header, features) == 512);
static_assert(header_offset + sizeof(shared_header) == first_segment_offset);

/// Heads a run of region slots; the first is at 4736, further ones take blocks.
struct segment_header {
    std::uint64_t magic;
    std::uint32_t index;
    std::uint32_t slots;
    std::uint64_t segment_bytes;  // in blocks, header included; of the first: up to the first block
    std::uint32_t crc;            // over the 24 bytes before it
    std::uint32_t reserved0;
    std::uint64_t next;  // shared; offset | segment_link_tag, or 0; outside the CRC
    std::array<std::byte, 88> reserved;
};
static_assert(sizeof(segment_header) == line_bytes);
static_assert(offsetof(segment_header, magic) == 0);
static_assert(offsetof(segment_header, index) == 8);
static_assert(offsetof(segment_header, slots) == 12);
static_assert(offsetof(segment_header, segment_bytes) == 16);
static_assert(offsetof(segment_header, crc) == 24);
static_assert(offsetof(segment_header, reserved0) == 28);
static_assert(offsetof(segment_header, next) == 32);
static_assert(offsetof(segment_header, reserved) == 40);

/// In the low bits of a link (offsets are multiples of 64), so that no single flipped bit turns a link into "none".
inline constexpr std::uint64_t segment_link_tag = 0x2b;
inline constexpr std::uint64_t segment_link_mask = 0x3f;

/// Low byte of a state word, the generation above it. Any two differ in at least two bits (none is one flip from
/// another).
enum class slot_state : std::uint8_t {
    free = 0x00,  ///< never used (generation 0) or freed
    live = 0x35,
    clearing = 0xca,  ///< live again once emptied, under the generation beside it
};

[[nodiscard]] constexpr std::uint64_t state_word(std::uint64_t generation, slot_state state) noexcept {
    return generation << 8 | static_cast<std::uint64_t>(state);
}
[[nodiscard]] constexpr std::uint64_t generation_of(std::uint64_t state_word) noexcept {
    return state_word >> 8;
}
[[nodiscard]] constexpr slot_state state_of(std::uint64_t state_word) noexcept {
    return static_cast<slot_state>(state_word & 0xff);
}

/// What a slot says of its region, changed at allocate, free and clear only.
struct slot_cold {
    std::uint64_t state;  // shared; outside the CRCs but for its generation
    std::uint64_t extent_offset;
    std::uint64_t extent_bytes;
    std::uint64_t first_sequence;
    std::uint64_t creation_ns;
    std::uint64_t log_id;
    std::uint32_t place;
    std::uint32_t flags;
    std::uint32_t place_crc;  // over what clearing leaves alone: see format::place_crc
    std::uint32_t crc;        // over the generation and all else: see format::cold_crc
    std::array<char, 64> name;
};
static_assert(sizeof(slot_cold) == line_bytes);
static_assert(offsetof(slot_cold, state) == 0);
static_assert(offsetof(slot_cold, extent_offset) == 8);
static_assert(offsetof(slot_cold, extent_bytes) == 16);
static_assert(offsetof(slot_cold, first_sequence) == 24);
static_assert(offsetof(slot_cold, creation_ns) == 32);
static_assert(offsetof(slot_cold, log_id) == 40);
static_assert(offsetof(slot_cold, place) == 48);
static_assert(offsetof(slot_cold, flags) == 52);
static_assert(offsetof(slot_cold, place_crc) == 56);
static_assert(offsetof(slot_cold, crc) == 60);
static_assert(offsetof(slot_cold, name) == 64);

/// Two classes, for a program that does not know a flag: it ignores the flag, or it refuses the region (and a writer the
/// stream, because it could not recover the region).
inline constexpr std::uint32_t slot_flags_ignorable = 0x0000'ffff;
inline constexpr std::uint32_t slot_flags_required = 0xffff'0000;
/// The region belongs to a log that rolls. Ignorable: whoever reads the region alone needs to know nothing of it.
inline constexpr std::uint32_t slot_flag_rolls = 1;
/// The region begins with no head and holds no marks (those of the C API of pmemstream 0.2.1). Ignorable as well.
inline constexpr std::uint32_t slot_flag_headless = 2;
#ifdef PMEMSTREAM_TEST_HOOKS
inline std::uint32_t known_slot_flags = slot_flag_rolls | slot_flag_headless;  // set while no stream is open
#else
inline constexpr std::uint32_t known_slot_flags = slot_flag_rolls | slot_flag_headless;
#endif

/// Appenders write it.
struct slot_commit_line {
    std::uint64_t commit_offset;  // shared
    std::uint64_t sequence;       // shared; no entry before the commit offset has a greater one
    std::uint32_t wake;           // shared
    std::uint32_t reserved0;
    std::uint64_t mark_offset;  // shared; of the newest mark before the commit offset, or 0
    std::uint64_t successor;    // shared; see successor_word
    std::uint64_t first_index;  // shared; see index_word
    std::array<std::byte, 80> reserved;
};
static_assert(sizeof(slot_commit_line) == line_bytes);
static_assert(offsetof(slot_commit_line, commit_offset) == 0);
static_assert(offsetof(slot_commit_line, sequence) == 8);
static_assert(offsetof(slot_commit_line, wake) == 16);
static_assert(offsetof(slot_commit_line, reserved0) == 20);
static_assert(offsetof(slot_commit_line, mark_offset) == 24);
static_assert(offsetof(slot_commit_line, successor) == 32);
static_assert(offsetof(slot_commit_line, first_index) == 40);
static_assert(offsetof(slot_commit_line, reserved) == 48);

/// Whoever persists writes it.
struct slot_persist_line {
    std::uint64_t persisted;  // shared; see persisted_word
    std::uint64_t sequence;   // shared
    std::uint32_t wake;       // shared
    std::uint32_t reserved0;
    std::uint64_t mark_offset;  // shared; of the newest mark before the persisted offset, or 0
    std::array<std::byte, 96> reserved;
};
static_assert(sizeof(slot_persist_line) == line_bytes);
static_assert(offsetof(slot_persist_line, persisted) == 0);
static_assert(offsetof(slot_persist_line, sequence) == 8);
static_assert(offsetof(slot_persist_line, wake) == 16);
static_assert(offsetof(slot_persist_line, reserved0) == 20);
static_assert(offsetof(slot_persist_line, mark_offset) == 24);
static_assert(offsetof(slot_persist_line, reserved) == 32);

struct region_slot {
    slot_cold cold;
    slot_commit_line commit;
    slot_persist_line persist;
};
static_assert(sizeof(region_slot) == 384);
static_assert(offsetof(region_slot, cold) == 0);
static_assert(offsetof(region_slot, commit) == 128);
static_assert(offsetof(region_slot, persist) == 256);

/// The persisted offset in bits 0–55 and, modulo 256, the epoch of the writer that stored it in 56–63: no entry that a
/// recovery may accept behind the offset is older. One word, because power loss may take either of two.
[[nodiscard]] constexpr std::uint64_t persisted_word(std::uint64_t offset, std::uint64_t epoch) noexcept {
    return offset | epoch << 56;
}
[[nodiscard]] constexpr std::uint64_t persisted_offset_of(std::uint64_t word) noexcept {
    return word & ((std::uint64_t{1} << 56) - 1);
}
[[nodiscard]] constexpr std::uint8_t persisted_epoch_of(std::uint64_t word) noexcept {
    return static_cast<std::uint8_t>(word >> 56);
}

/// The region that follows in the chain: its slot in bits 0 to 19, its generation in bits 20 to 63. 0: none, as no
/// generation is 0.
[[nodiscard]] constexpr std::uint64_t successor_word(std::uint32_t slot, std::uint64_t generation) noexcept {
    return slot | generation << 20;
}
[[nodiscard]] constexpr std::uint32_t successor_slot_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & (region_slots_max - 1));
}
[[nodiscard]] constexpr std::uint64_t successor_generation_of(std::uint64_t word) noexcept {
    return word >> 20;
}

/// The first bytes of a region's blocks: enough to salvage it without the table.
struct extent_header {
    std::uint64_t magic;
    std::array<std::byte, 16> uuid;
    std::uint64_t generation;
    std::uint64_t extent_bytes;
    std::uint64_t first_sequence;
    std::uint64_t extent_offset;
    std::uint32_t flags;
    std::uint32_t crc;  // over the 60 bytes before it
};
static_assert(sizeof(extent_header) == 64);
static_assert(offsetof(extent_header, magic) == 0);
static_assert(offsetof(extent_header, uuid) == 8);
static_assert(offsetof(extent_header, generation) == 24);
static_assert(offsetof(extent_header, extent_bytes) == 32);
static_assert(offsetof(extent_header, first_sequence) == 40);
static_assert(offsetof(extent_header, extent_offset) == 48);
static_assert(offsetof(extent_header, flags) == 56);
static_assert(offsetof(extent_header, crc) == 60);

/// Before every payload.
struct entry_header {
    std::uint32_t payload_bytes;
    std::uint32_t crc;
    std::uint64_t meta;  // see entry_meta
};
static_assert(sizeof(entry_header) == 16);
static_assert(offsetof(entry_header, payload_bytes) == 0);
static_assert(offsetof(entry_header, crc) == 4);
static_assert(offsetof(entry_header, meta) == 8);

template <class T>
inline constexpr bool is_media_struct =
    std::is_trivially_copyable_v<T>&& std::is_standard_layout_v<T>&& std::has_unique_object_representations_v<T>;
static_assert(is_media_struct<superblock> && is_media_struct<shared_header> && is_media_struct<segment_header> &&
              is_media_struct<region_slot> && is_media_struct<extent_header> && is_media_struct<entry_header>);

inline constexpr std::uint64_t first_slots_offset = first_segment_offset + sizeof(segment_header);

}  // namespace pmemstream::format
