#pragma once

#include "src/format/entry.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The payloads of the library's own entries, which no cursor shows: a region's head, and the marks from which whoever needs
// a time or an index counts on. docs/format.md is the specification.
namespace pmemstream::format {

/// How the payload of a head begins; name and attributes follow.
struct head_payload {
    std::uint64_t log_id;
    std::uint64_t predecessor_generation;
    std::uint32_t place;
    std::uint16_t name_bytes;
    std::uint16_t attribute_count;
    std::uint32_t attributes_bytes;
    std::uint32_t text_crc;  // over name and attributes
};
static_assert(sizeof(head_payload) == 32);
static_assert(offsetof(head_payload, log_id) == 0);
static_assert(offsetof(head_payload, predecessor_generation) == 8);
static_assert(offsetof(head_payload, place) == 16);
static_assert(offsetof(head_payload, name_bytes) == 20);
static_assert(offsetof(head_payload, attribute_count) == 22);
static_assert(offsetof(head_payload, attributes_bytes) == 24);
static_assert(offsetof(head_payload, text_crc) == 28);

/// Before each attribute's key and value, which follow without padding.
struct attribute_header {
    std::uint16_t kind;
    std::uint16_t key_bytes;
    std::uint32_t value_bytes;
};
static_assert(sizeof(attribute_header) == 8);
static_assert(offsetof(attribute_header, kind) == 0);
static_assert(offsetof(attribute_header, key_bytes) == 2);
static_assert(offsetof(attribute_header, value_bytes) == 4);

/// Who does not know a kind ignores the attribute and keeps it.
enum class attribute_kind : std::uint16_t {
    user = 0,          ///< a key and a value of the user's
    content_type = 1,  ///< no key; the value says what the payloads are, as a media type (RFC 6838)
};

/// Name and attributes together.
inline constexpr std::uint64_t head_text_bytes_max = std::uint64_t{16} << 10;

struct attribute {
    attribute_kind kind = attribute_kind::user;
    std::string key;
    std::string value;

    friend bool operator==(const attribute&, const attribute&) = default;
};

/// What a head says.
struct region_head {
    std::uint64_t log_id = 0;
    std::uint64_t predecessor_generation = 0;  ///< 0: the first of its log
    std::uint32_t place = 0;
    std::string name;
    std::vector<attribute> attributes;

    friend bool operator==(const region_head&, const region_head&) = default;
};

/// Of name and attributes; nothing where they are more than a head may hold.
[[nodiscard]] std::optional<std::uint64_t> head_payload_bytes(const region_head& head) noexcept;
/// The payload of the head's entry. head_payload_bytes() has a value.
[[nodiscard]] std::vector<std::byte> encode_head(const region_head& head);
/// Nothing: its lengths contradict each other, or its text is damaged.
[[nodiscard]] std::optional<region_head> decode_head(std::span<const std::byte> payload);

/// The payload of a mark.
struct mark_payload {
    std::uint64_t time_us;   // since 1970-01-01 UTC; never falls within a region
    std::uint64_t clock_us;  // as the clock was read
    std::uint64_t index;     // of the next entry
    std::uint64_t sequence;  // the next entry's is not smaller
    std::uint64_t epoch;     // all of it
    std::uint64_t previous;  // offset of the mark before, or 0
    std::uint64_t jump;      // offset of an earlier mark, or 0
};
static_assert(sizeof(mark_payload) == 56);
static_assert(offsetof(mark_payload, time_us) == 0);
static_assert(offsetof(mark_payload, clock_us) == 8);
static_assert(offsetof(mark_payload, index) == 16);
static_assert(offsetof(mark_payload, sequence) == 24);
static_assert(offsetof(mark_payload, epoch) == 32);
static_assert(offsetof(mark_payload, previous) == 40);
static_assert(offsetof(mark_payload, jump) == 48);
static_assert(is_media_struct<head_payload> && is_media_struct<attribute_header> && is_media_struct<mark_payload>);

/// Bytes that a region's head takes, whose first entry in `room` bytes has this header; 0: it is none.
[[nodiscard]] std::uint64_t head_entry_bytes(const entry_header& first, std::uint64_t room) noexcept;

inline constexpr std::uint64_t mark_entry_bytes = entry_bytes(sizeof(mark_payload));

/// Nothing: the payload has another size, or its fields cannot be.
[[nodiscard]] std::optional<mark_payload> decode_mark(std::span<const std::byte> payload) noexcept;

}  // namespace pmemstream::format
