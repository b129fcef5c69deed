#include "src/durability/preparer.hpp"

#include "src/base/mapped.hpp"

#include <algorithm>

namespace pmemstream::durability {

void preparer::look(const std::vector<format::region_slot*>& slots) {
    done_.resize(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const auto& slot = *slots[i];
        const std::uint64_t state = base::load_acquire(slot.cold.state);
        if (format::state_of(state) != format::slot_state::live)
            continue;
        const std::uint64_t committed = base::load_acquire(slot.commit.commit_offset);
        const std::uint64_t end_of_region =
            base::load_relaxed(slot.cold.extent_offset) + base::load_relaxed(slot.cold.extent_bytes);
        const std::uint64_t end = std::min(committed + ahead_bytes_, end_of_region);
        auto& done = done_[i];
        if (done.state != state)
            done = {state, committed};
        // Half of it at a time, or every look would find a page to do.
        if (committed >= end || end <= done.end || (end - done.end < ahead_bytes_ / 2 && end != end_of_region))
            continue;
        const std::uint64_t begin = std::max(done.end, committed);
        // Whatever the slot has become meanwhile, touching changes no byte.
        for (const auto& range : medium_.unwritten(begin, end - begin)) {
            medium_.touch(range.offset, range.bytes);
            // An error is told once: if it is told here, a later flush would not hear of it.
            if (auto synced = medium_.sync({&range, 1}); !synced)
                return flusher_.fail(synced.error());
        }
        done.end = end;
    }
}

}  // namespace pmemstream::durability
