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
    /// Noticed by the death of a writer, which leaves the file its inode: not for sure by power loss alone, since what
    /// that leaves is opened as another file.
    bool needs_death = false;
    bool needs_lines = false;  ///< at work only where single stores are made durable
    [[nodiscard]] bool is_for_kernel() const { return !needs_death && !needs_lines; }
};
[[nodiscard]] std::span<const mutant_case> mutant_cases();

}  // namespace pmemstream::test
