#pragma once

#include "src/base/fork_hook.hpp"

#include <cstddef>

namespace pmemstream::medium {

/// A mapping that forked children do not get, for as long as this lives. In a child its place is held by memory that
/// nobody can access: else the child's own memory could come to lie there, and libpmem2, which still counts its
/// parent's mappings in the child, would refuse every address that the kernel proposes there.
class unforked_range {
public:
    unforked_range() noexcept = default;
    unforked_range(const unforked_range&) = delete;
    unforked_range& operator=(const unforked_range&) = delete;

    /// At most once; `begin` at a page. Unmap it before this is destroyed. A descriptor that is of no use without the
    /// mapping is closed in the child, and becomes -1. Returns an errno value or 0.
    [[nodiscard]] int cover(void* begin, std::size_t bytes, int* descriptor = nullptr) noexcept;

private:
    static void in_child(void* of) noexcept;

    void* begin_ = nullptr;
    std::size_t bytes_ = 0;
    int* descriptor_ = nullptr;
    base::fork_hook hook_;
};

}  // namespace pmemstream::medium
