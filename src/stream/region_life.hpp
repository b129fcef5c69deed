#pragma once

#include <pmemstream/detail/kill_point.hpp>
#include "src/format/layout.hpp"
#include "src/format/system_entry.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>

#include <cstdint>
#include <optional>

// How a region begins: its extent header, its head, and the store of the state word that makes a region of them. Allocation,
// clearing, and the recovery of a clearing that was cut short do this; the head is read here as well.
namespace pmemstream::core {

/// What a region is to be that comes to life in a slot.
struct region_birth {
    std::uint64_t generation = 0;
    std::uint64_t first_sequence = 0;  ///< no entry will be older
    std::uint64_t epoch = 0;           ///< nor of an earlier writer
    format::region_head head;  ///< log id 0: a log of its own; no head is written where the slot says "headless"
};

/// Makes an empty, live region of a slot whose place (extent, place in its log, flags, name) is stored and whose state word
/// does not say "live" yet; durable when this returns. `prepared`: where the crash tests stop it, before the state word.
/// Errors: io, no_space.
[[nodiscard]] result<void> bring_to_life(stream_file& file, format::region_slot& slot, const region_birth& birth,
                                         base::kill_point prepared);

/// Stored behind every state word: readers that find it unchanged need not look for new regions.
void note_table_change(stream_file& file) noexcept;

/// Bytes that the head of a region takes with its header, 0 where it has none; `begin` of its entries is behind it.
[[nodiscard]] std::uint64_t head_entry_bytes(const stream_file& file, const format::slot_cold& cold) noexcept;

/// The head of a region. Nothing: it has none. Errors: corrupt.
[[nodiscard]] result<std::optional<format::region_head>> read_head(const stream_file& file,
                                                                   const format::slot_cold& cold, std::uint32_t index);

/// What is left of the head of a region that is being cleared: name and attributes, which clearing stores as they are.
[[nodiscard]] std::vector<format::attribute> attributes_of_cleared(const stream_file& file,
                                                                   const format::slot_cold& cold);

[[nodiscard]] region_attributes to_public(const std::vector<format::attribute>& attributes);
/// Of a new region that begins with this head; nothing where name and attributes are more than a head may hold.
[[nodiscard]] std::optional<std::uint64_t> overhead_bytes(const format::region_head& head) noexcept;
[[nodiscard]] std::vector<format::attribute> from_public(const region_attributes& attributes);

}  // namespace pmemstream::core
