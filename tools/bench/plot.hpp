#pragma once

#include "tools/bench/report.hpp"

#include <filesystem>
#include <vector>

namespace bench {

/// Throws, before anything is measured, where no picture could be made: no gnuplot, no such folder (it is made).
void prepare_plots(const std::filesystem::path& folder);
/// Draws what the report has rows for, as SVG; gives the files.
[[nodiscard]] std::vector<std::filesystem::path> draw_plots(const report& what, const std::filesystem::path& folder);

}  // namespace bench
