#pragma once

#include <optional>
#include <pmemstream/reader.hpp>
#include <string>
#include <string_view>

namespace pmemstream::tools {

/// How the tools call a region: by its name, or #GENERATION when it has none.
[[nodiscard]] std::string label_of(const region_info& info);

/// The region of that name or #GENERATION, or nothing.
[[nodiscard]] std::optional<region_info> find_region(const reader& from, std::string_view label);
/// The same; ends the tool with a list of what there is when there is none.
[[nodiscard]] region_info need_region(const reader& from, std::string_view label);

}  // namespace pmemstream::tools
