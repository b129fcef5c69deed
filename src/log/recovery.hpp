#pragma once

#include "src/durability/flusher.hpp"
#include "src/format/layout.hpp"
#include "src/log/region_table.hpp"
#include "src/log/stream_file.hpp"

#include <pmemstream/detail/kill_point.hpp>
#include <pmemstream/writer.hpp>

#include <array>
#include <cstdint>

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

/// What decide_trust() cannot see: a copy of which one part was made before a writer opened the stream and the rest
/// after that says that it is clean, and is not. Only of another file than the one that was closed is that believed.
[[nodiscard]] trust reconsider_trust(const stream_file& file, const region_table& table, const file_identity& now,
                                     trust row) noexcept;

struct recovered_stream {
    recovery_report report;
    std::uint64_t next_timestamp = 1;  ///< above all that was ever given, committed or not
};

/// Stores what is trusted, zeroes what lies at each recovered end, and makes both durable. May be repeated after a
/// crash anywhere in it. `table` is complete, `flusher` knows its slots. Errors: corrupt, unsupported_format, io.
/// Nothing is stored before everything that can be refused was checked.
[[nodiscard]] result<recovered_stream> recover(stream_file& file, const region_table& table,
                                               durability::flusher& flusher, trust row);

/// Makes an empty, live region of a slot whose place (extent, chain, flags, name) is stored and whose state word does
/// not say "live" yet; durable when this returns. No entry will be older than `first_timestamp`, nor of an earlier
/// writer than `epoch`. `prepared`: where the crash tests stop it, before the state word.
[[nodiscard]] result<void> bring_to_life(stream_file& file, format::region_slot& slot, std::uint64_t generation,
                                         std::uint64_t first_timestamp, std::uint64_t epoch, base::kill_point prepared);

}  // namespace pmemstream::log
