#pragma once

#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>

// What an opening writer changes in the header between recovering the regions and appending. Each step may be repeated by the
// next opening if a crash comes in between.
namespace pmemstream::core {

/// The steps of an opening that change the identity line end with this. Errors: io.
[[nodiscard]] result<void> persist_identity(const stream_file& file);

/// Adds the features that this library's writers use to those of the stream, durably. To be called before the new epoch is
/// stored. Errors: corrupt, io.
[[nodiscard]] result<void> raise_features(stream_file& file);

/// For the first writer of a copy: the copy's history goes on under a new lineage. Keeps the one before, and `epoch`, up to
/// which both are the same. Durable when it returns. To be called while the header still tells that the file is a copy;
/// end_lineage_change() follows once it does not, also in an opening that finds a change that was cut short. Errors: io.
[[nodiscard]] result<void> begin_lineage_change(stream_file& file, std::uint64_t epoch);
[[nodiscard]] result<void> end_lineage_change(stream_file& file);

/// Raises the table's change counter above all values that any reader has seen, whatever the medium lost of it.
void begin_table_changes(stream_file& file, std::uint64_t epoch) noexcept;

}  // namespace pmemstream::core
