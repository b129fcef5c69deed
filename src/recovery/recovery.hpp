#pragma once

#include "src/durability/flusher.hpp"
#include "src/format/layout.hpp"
#include "src/recovery/trust.hpp"
#include "src/stream/region_table.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/detail/kill_point.hpp>
#include <pmemstream/writer.hpp>

#include <cstdint>

// How an opening writer makes the stream appendable again, from what it believes. Readers never do any of this.
namespace pmemstream::core {

struct recovered_stream {
    recovery_report report;
    std::uint64_t next_sequence = 1;  ///< above all that was ever given, committed or not
};

/// After the medium refused something, the kernel may call pages clean that never reached it. Stored again, they are dirty
/// again, and the next sync speaks of them. Superblock, header and table, before anything in them is believed: a clean page
/// may leave the memory between two looks. Errors: corrupt.
[[nodiscard]] result<void> store_metadata_again(const stream_file& file);

/// Stores what is trusted, zeroes what lies at each recovered end, and makes both durable. May be repeated after a
/// crash anywhere in it. `table` is complete, `flusher` knows its slots. Errors: corrupt, unsupported_format, io.
/// Nothing is stored before everything that can be refused was checked.
[[nodiscard]] result<recovered_stream> recover(stream_file& file, const region_table& table,
                                               durability::flusher& flusher, const last_writer& last);

}  // namespace pmemstream::core
