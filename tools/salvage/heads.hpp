#pragma once

#include "tools/salvage/survey.hpp"
#include "tools/verify/media.hpp"

namespace pmemstream::tools {

/// Reads the head of every region that has a whole one. It gives back what only the table knew: a region's name, and its
/// place in its log.
void read_heads(const media& from, survey& seen);

}  // namespace pmemstream::tools
