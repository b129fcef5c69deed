#include "tools/verify/tail.hpp"

namespace pmemstream::tools {

using format::entry_fault;

void count(region_summary& to, const entry_walk::item& whole) {
    to.bytes += whole.end() - whole.offset;
    if (whole.system()) {
        ++(whole.type() == format::system_type::filler ? to.fillers : to.system_entries);
        return;
    }
    ++to.entries;
    to.payload_bytes += whole.header.payload_bytes;
    if (to.first_sequence == 0)
        to.first_sequence = whole.sequence();
    to.last_sequence = whole.sequence();
}

void judge_tail(const media& from, walk_place place, std::size_t window_bytes, region_summary& to) {
    place.as_recovery = true;
    entry_walk walk(from, place, window_bytes);
    region_summary seen = to;  // with the members of a batch whose end is not reached yet
    bool in_batch = false;
    entry_fault fault = entry_fault::never_written;
    while (place.end - walk.position() >= sizeof(format::entry_header)) {
        const auto item = walk.look();
        fault = item.fault;
        if (fault != entry_fault::none || (in_batch && item.system()))
            break;
        walk.step_over(item);
        count(seen, item);
        seen.recovered_entries += item.system() ? 0 : 1;
        seen.batches += item.more() && !in_batch ? 1 : 0;
        in_batch = item.more();
        if (!in_batch) {
            to = seen;
            to.judged_end = walk.position();
        }
        fault = entry_fault::never_written;
    }
    if (fault == entry_fault::unsupported) {
        // A writer that does not know it refuses the stream, and so cuts nothing.
        to.unsupported = format::to_string(fault);
        to.unsupported_from = walk.position();
        return;
    }
    if (walk.find_next())
        to.whole_entry_behind = walk.position();
    const bool ends_with_zeros = fault == entry_fault::never_written;
    to.torn = in_batch || !ends_with_zeros || to.whole_entry_behind;
    if (to.torn)
        to.torn_why = in_batch          ? "an incomplete batch"
                      : ends_with_zeros ? "a header that is missing before whole entries"
                                        : format::to_string(fault);
}

void judge_uncommitted(const media& from, walk_place place, std::size_t window_bytes, region_summary& to) {
    if (!place.epoch)
        return;
    place.as_recovery = true;
    place.persisted = {place.begin, *place.epoch};
    const auto first = entry_walk(from, place, window_bytes).look().fault;
    if (first != entry_fault::none && first != entry_fault::unsupported)
        return;
    judge_tail(from, place, window_bytes, to);
    // What else is torn was about to be committed.
    to.torn = to.whole_entry_behind.has_value();
    if (!to.torn)
        to.torn_why.clear();
}

}  // namespace pmemstream::tools
