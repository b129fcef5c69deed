#pragma once

#include "tools/verify/report.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace pmemstream::tools {

struct verify_options {
    std::optional<std::string> region = {};  ///< entries of this one only: its name, or #GENERATION
    std::function<void(std::uint64_t entries, std::uint64_t bytes)> progress = {};  ///< called now and then
};

/// Checks everything that docs/format.md says of a stream, read-only, also beside a live writer. Goes on after a
/// finding with what does not depend on it. Needs memory by the number of regions, not of entries. Throws `failed` for
/// what is no stream, cannot be opened, or has no such region.
[[nodiscard]] verify_report verify_stream(const std::filesystem::path& file, const verify_options& options = {});

}  // namespace pmemstream::tools
