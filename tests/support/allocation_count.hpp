#pragma once

#include <cstdint>

namespace pmemstream::test {

/// How often the calling thread asked for memory so far: malloc and its kin, and so operator new. A program that links
/// allocation_count.cpp counts; under a sanitizer its hooks do.
[[nodiscard]] std::uint64_t allocations_of_this_thread() noexcept;

}  // namespace pmemstream::test
