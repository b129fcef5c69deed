#pragma once

#include "tools/salvage/survey.hpp"

#include <vector>

namespace pmemstream::tools {

/// Sorts regions by generation and says where the entries of each can lie: where those of two generations claim the same
/// blocks, the younger one has them. Drops what no slot names and that has no blocks of its own left.
void divide_blocks(std::vector<found_region>& regions);

}  // namespace pmemstream::tools
