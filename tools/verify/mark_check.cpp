#include "tools/verify/mark_check.hpp"

#include <fmt/format.h>

namespace pmemstream::tools {

using format::entry_meta;
using format::system_type;

void mark_check::count(const entry_walk::item& item) {
    if (item.system()) {
        if (item.type() == system_type::lost && index_)
            *index_ += entry_meta::argument(item.header.meta);
        return;
    }
    if (item.sequence() < next_sequence_min_)
        found_.push_back(fmt::format("the mark before it says that the next entry's sequence is at least {}, not {}",
                                     next_sequence_min_, item.sequence()));
    next_sequence_min_ = 0;
    if (index_)
        ++*index_;
}

void mark_check::look_at(const entry_walk::item& item, std::span<const std::byte> payload, std::uint64_t sequence) {
    const auto mark = format::decode_mark(payload);
    if (!mark) {
        found_.push_back("a mark whose fields cannot be");
        return;
    }
    if (mark->epoch != item.epoch)
        found_.push_back(fmt::format("a mark of epoch {} says {}", item.epoch, mark->epoch));
    if (mark->sequence <= sequence)
        found_.push_back(fmt::format("a mark behind sequence {} says that {} comes next", sequence, mark->sequence));
    if (mark->time_us < time_us_)
        found_.push_back(
            fmt::format("a mark's time ({} us) is before that of the one before ({} us)", mark->time_us, time_us_));
    if (index_ && mark->index != *index_)
        found_.push_back(fmt::format("a mark says that the next index is {}, and it is {}", mark->index, *index_));
    index_ = mark->index;
    time_us_ = mark->time_us;
    next_sequence_min_ = mark->sequence;
}

}  // namespace pmemstream::tools
