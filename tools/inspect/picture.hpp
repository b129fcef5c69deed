#pragma once

#include <cstdint>
#include <pmemstream/stream.hpp>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// The letter by which the picture shows the region with this place in the table that is printed with it.
[[nodiscard]] char letter_of(std::size_t row) noexcept;

/// The file from its begin to its end, at most 80 columns wide: see the manual page.
[[nodiscard]] std::string draw_file(const std::vector<region_info>& regions, const std::vector<extent_info>& extents,
                                    std::uint64_t stream_bytes, std::uint64_t block_bytes);

/// "[####......]": ten characters for how full something is. A single entry shows.
[[nodiscard]] std::string draw_share(std::uint64_t used, std::uint64_t size);

}  // namespace pmemstream::tools
