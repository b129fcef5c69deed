#pragma once

#include "src/durability/flusher.hpp"
#include "src/format/layout.hpp"
#include "src/medium/mapping.hpp"

#include <cstdint>
#include <vector>

namespace pmemstream::durability {

/// Makes what lies ahead of the commit offsets ready for entries, in the background. Two things are due only once, and
/// would otherwise be paid for by an append or by the first sync behind it:
/// - a file system hands out space that reads as zeros and is not written; the first sync of data there has to change the
///   file system's own records as well, which costs as much again. Zeros are written to such space, once in its life;
/// - the first store to a page of the mapping faults. The pages are made present and writable before.
/// Thread safety: one thread at a time, beside the appending one.
class preparer {
public:
    /// How far ahead of each live region's commit offset, in bytes; 0: not at all.
    struct distance {
        std::uint64_t zeros = 0;  ///< nothing where the medium flushes single stores
        std::uint64_t pages = 0;
    };

    preparer(medium::mapping& medium, flusher& of, distance ahead) noexcept;

    /// Looks at every region of the table, and makes ready what is due. True: something was.
    bool look(const std::vector<format::region_slot*>& slots);

private:
    struct progress {
        std::uint64_t state = 0;      // the slot's state word
        std::uint64_t zeros_end = 0;  // ready up to here
        std::uint64_t pages_end = 0;
        std::uint64_t persisted = 0;  // persisted offset at the last look
    };
    struct extent {
        std::uint64_t committed = 0;
        std::uint64_t end = 0;
    };

    [[nodiscard]] bool write_zeros(const extent& region, progress& done);
    [[nodiscard]] bool populate(const format::region_slot& slot, const extent& region, progress& done);

    medium::mapping& medium_;
    flusher& flusher_;
    const distance ahead_;
    std::vector<progress> done_;  // by slot index
};

}  // namespace pmemstream::durability
