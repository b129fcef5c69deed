#pragma once

#include "tools/salvage/report.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>

namespace pmemstream::tools {

/// Copies every entry that verifies from a stream, however damaged, to a new one, in the order of their sequences.
/// Needs memory by the number of regions and the largest batch. `progress` is called now and then, and may throw to end
/// it; nothing is left of the new stream then. Throws `failed`.
[[nodiscard]] salvage_report salvage_stream(
    const std::filesystem::path& file, const std::filesystem::path& out,
    const std::function<void(std::uint64_t entries, std::uint64_t bytes)>& progress);

}  // namespace pmemstream::tools
