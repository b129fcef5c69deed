#pragma once

#include "src/base/mutant.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace pmemstream::test {

/// What is left out of the library, or done in another order, and the workload that must notice.
struct mutant_case {
    base::mutant which;
    std::string_view name;
    std::string_view workload;
    bool needs_stores = false;  ///< only who kills the writer between two stores notices: not what the kernel is asked
};
[[nodiscard]] std::span<const mutant_case> mutant_cases();

}  // namespace pmemstream::test
