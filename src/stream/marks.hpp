#pragma once

#include "src/format/system_entry.hpp"
#include "src/stream/stream_file.hpp"

#include <cstdint>
#include <optional>

// Marks are met by offsets that are mere hints: of the lines of a slot, of other marks.
namespace pmemstream::core {

/// The mark whose entry lies at `offset` of a region and ends before `end`. Nothing: none that verifies does. Safe for any
/// offset.
[[nodiscard]] std::optional<format::mark_payload> mark_at(const stream_file& file, const format::slot_cold& cold,
                                                          std::uint64_t offset, std::uint64_t end) noexcept;

}  // namespace pmemstream::core
