#pragma once

#include <pmemstream/detail/kill_point.hpp>
#include "src/format/layout.hpp"
#include "src/log/region_table.hpp"
#include "src/log/stream_file.hpp"

#include <pmemstream/writer.hpp>

#include <array>
#include <cstdint>
#include <span>

// What an opening writer believes, and how it makes the stream appendable again. Readers never do any of this.
namespace pmemstream::log {

/// Who holds the file now, to compare with what the header says.
struct file_identity {
    std::array<std::byte, 16> boot_id{};
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
};

/// Errors: io.
[[nodiscard]] result<file_identity> current_identity(const stream_file& file);

/// The table for opening: one row each.
enum class trust : std::uint8_t {
    clean,         ///< clean_epoch == epoch: commit offsets, which equal the persisted ones
    process_died,  ///< same boot, device and inode, no medium error: commit offsets, nothing past them
    rescan,        ///< anything else: persisted offsets, then what verifies behind them
};
[[nodiscard]] trust decide_trust(const format::identity_line& identity, const file_identity& now) noexcept;

/// The part of a region that a rescan looks at.
struct scan_input {
    std::span<const std::byte> bytes;  ///< from the persisted offset to the end of the region
    std::uint64_t offset = 0;          ///< of bytes[0] in the file
    std::uint64_t previous_timestamp = 0;
    std::uint32_t crc_seed = 0;
    std::uint64_t epoch = 0;  ///< the header's
};
struct scan_result {
    std::uint64_t end = 0;        ///< offset behind the last whole entry that ends no batch in the middle
    std::uint64_t timestamp = 0;  ///< of that entry, or the previous one
    std::uint64_t entries = 0;
    bool cut = false;                 ///< something is written behind `end`
    bool whole_entry_behind = false;  ///< and among it is an entry that verifies
};
/// Pure: walks while headers and payloads fit, CRCs match, timestamps increase and epochs neither fall nor exceed the
/// header's.
[[nodiscard]] scan_result scan(const scan_input& input) noexcept;

/// Stores what is trusted, zeroes what lies at each recovered end, and makes both durable. May be repeated after a
/// crash anywhere in it. `table` is complete. Errors: corrupt, unsupported_format, io. Nothing is stored before
/// everything that can be refused was checked.
[[nodiscard]] result<recovery_report> recover(stream_file& file, const region_table& table, trust row);

/// Makes an empty, live region of a slot whose place (extent, chain, flags, name) is stored and whose state word does
/// not say "live" yet; durable when this returns. No entry will be older than `first_timestamp`. `prepared`: where the
/// crash tests stop it, before the state word.
[[nodiscard]] result<void> bring_to_life(stream_file& file, format::region_slot& slot, std::uint64_t generation,
                                         std::uint64_t first_timestamp, base::kill_point prepared);

/// Persists all that is committed, then moves the persisted offsets and timestamps. No appender may be at work.
[[nodiscard]] result<void> persist_everything(stream_file& file, const region_table& table);

}  // namespace pmemstream::log
