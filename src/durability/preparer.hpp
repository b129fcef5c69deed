#pragma once

#include "src/durability/flusher.hpp"
#include "src/format/layout.hpp"
#include "src/medium/mapping.hpp"

#include <cstdint>
#include <vector>

namespace pmemstream::durability {

/// Writes the zeros that lie ahead of the commit offsets, in the background. A file system hands out space that reads as
/// zeros and is not written; the first sync of data there has to change the file system's own records as well, which
/// costs as much again. Only such space is written, so each block of a file is at most once in its life.
/// Thread safety: one thread at a time, beside the appending one.
class preparer {
public:
    preparer(medium::mapping& medium, flusher& of, std::uint64_t ahead_bytes) noexcept
        : medium_(medium), flusher_(of), ahead_bytes_(ahead_bytes) {}

    /// Looks at every region of the table, and makes ready what is due.
    void look(const std::vector<format::region_slot*>& slots);

private:
    struct progress {
        std::uint64_t state = 0;  // the slot's state word
        std::uint64_t end = 0;    // ready up to here
    };

    medium::mapping& medium_;
    flusher& flusher_;
    const std::uint64_t ahead_bytes_;
    std::vector<progress> done_;  // by slot index
};

}  // namespace pmemstream::durability
