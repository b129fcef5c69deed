#pragma once

#include "tools/common/exit_code.hpp"
#include "tools/common/output.hpp"
#include "tools/inspect/options.hpp"

#include <pmemstream/reader.hpp>

namespace pmemstream::tools {

void show_info(const reader& from, const inspect_options& options, output& out);
/// A line for each.
void print_attributes(const region_attributes& attributes, std::string_view indent, output& out);
void show_regions(const reader& from, const inspect_options& options, output& out);
void show_readers(const reader& from, const inspect_options& options, output& out);
/// dump and tail: to the end of what is committed, or until ended.
void show_entries(const reader& from, const inspect_options& options, output& out);

// These open the file themselves: it may be too damaged for a reader.

/// The status with which the tool is to end.
[[nodiscard]] exit_code show_verification(const inspect_options& options, output& out);
[[nodiscard]] exit_code salvage(const inspect_options& options, output& out);

}  // namespace pmemstream::tools
