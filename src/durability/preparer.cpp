#include "src/durability/preparer.hpp"

#include "src/base/mapped.hpp"

#include <algorithm>
#include <utility>

namespace pmemstream::durability {

namespace {

/// Made present at once, before another look at where the appender is.
constexpr std::uint64_t piece_bytes = std::uint64_t{256} << 10;
/// For one region, before the others, or whoever closes the writer, have their turn.
constexpr unsigned pieces_max = 64;
/// As much of the file as the page cache may hold in one piece: syncing one page of it protects all of them again.
constexpr std::uint64_t folio_bytes_max = std::uint64_t{2} << 20;

/// So far ahead, or the end. `from` is not behind it.
constexpr std::uint64_t ahead_of(std::uint64_t from, std::uint64_t bytes, std::uint64_t end) noexcept {
    return bytes < end - from ? from + bytes : end;
}

}  // namespace

preparer::preparer(medium::mapping& medium, flusher& of, distance ahead) noexcept
    : medium_(medium),
      flusher_(of),
      // A page is touched after its zeros are synced, or that would protect it again.
      ahead_{medium.flushes() || ahead.zeros == 0 ? 0 : std::max(ahead.zeros, ahead.pages), ahead.pages} {}

bool preparer::look(const std::vector<format::region_slot*>& slots) {
    bool busy = false;
    done_.resize(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const auto& slot = *slots[i];
        const std::uint64_t state = base::load_acquire(slot.cold.state);
        if (format::state_of(state) != format::slot_state::live)
            continue;
        const extent region{
            base::load_acquire(slot.commit.commit_offset),
            std::min(base::load_relaxed(slot.cold.extent_offset) + base::load_relaxed(slot.cold.extent_bytes),
                     medium_.bytes())};
        if (region.committed >= region.end)
            continue;
        auto& done = done_[i];
        if (done.state != state)
            done = {state, region.committed, region.committed, 0};
        // Whatever the slot has become meanwhile, nothing here changes a byte.
        busy |= ahead_.zeros != 0 && write_zeros(region, done);
        busy |= ahead_.pages != 0 && populate(slot, region, done);
    }
    return busy;
}

bool preparer::write_zeros(const extent& region, progress& done) {
    const std::uint64_t end = ahead_of(region.committed, ahead_.zeros, region.end);
    // Half of it at a time, or every look would find a page to do.
    if (end <= done.zeros_end || (end - done.zeros_end < ahead_.zeros / 2 && end != region.end))
        return false;
    const std::uint64_t begin = std::max(std::exchange(done.zeros_end, end), region.committed);
    for (const auto& range : medium_.unwritten(begin, end - begin)) {
        medium_.touch(range.offset, range.bytes);
        // An error is told once: if it is told here, a later flush would not hear of it.
        if (auto synced = medium_.sync({&range, 1}); !synced) {
            flusher_.fail(synced.error());
            return false;
        }
    }
    return true;
}

bool preparer::populate(const format::region_slot& slot, const extent& region, progress& done) {
    const std::uint64_t farthest = ahead_.zeros != 0 ? done.zeros_end : region.end;
    // A sync has protected the pages that share a folio with what it wrote.
    const std::uint64_t persisted = format::persisted_offset_of(base::load_relaxed(slot.persist.persisted));
    if (persisted != std::exchange(done.persisted, persisted) && !medium_.flushes() &&
        region.committed < done.pages_end)
        medium_.populate(region.committed, std::min(folio_bytes_max, done.pages_end - region.committed));
    unsigned pieces = 0;
    for (; pieces < pieces_max; ++pieces) {
        const std::uint64_t committed = base::load_acquire(slot.commit.commit_offset);
        if (committed >= farthest)
            break;
        const std::uint64_t end = ahead_of(committed, ahead_.pages, farthest);
        // Overtaken: half of the way ahead the appender does not meet the same pages at the same time.
        if (done.pages_end < committed)
            done.pages_end = ahead_of(committed, ahead_.pages / 2, farthest);
        if (done.pages_end >= end ||
            (end - done.pages_end < std::min(piece_bytes, ahead_.pages / 2) && end != farthest))
            break;
        const std::uint64_t bytes = std::min(piece_bytes, end - done.pages_end);
        medium_.populate(done.pages_end, bytes);
        done.pages_end += bytes;
    }
    return pieces != 0;
}

}  // namespace pmemstream::durability
