#pragma once

#include <optional>
#include <pmemstream/reader.hpp>
#include <string>
#include <string_view>

namespace pmemstream::tools {

/// How the tools call a region: by its name, or #GENERATION when it has none. A name that begins with # gets another #
/// before it, so that no two regions are called the same.
[[nodiscard]] std::string label_of(const region_info& info);

/// The region that is called so, or nothing. (A name such as #x, which is no #GENERATION, need not be given as ##x.)
[[nodiscard]] std::optional<region_info> find_region(const reader& from, std::string_view label);
/// The same; ends the tool with a list of what there is when there is none.
[[nodiscard]] region_info need_region(const reader& from, std::string_view label);

}  // namespace pmemstream::tools
