#include "tools/verify/entry_walk.hpp"

#include <algorithm>

namespace pmemstream::tools {

using format::entry_fault;
using format::entry_meta;

entry_walk::entry_walk(const media& from, const walk_place& place, std::size_t window_bytes)
    : place_(place),
      window_(from, window_bytes),
      at_(place.begin),
      timestamp_(place.first_timestamp - std::min<std::uint64_t>(place.first_timestamp, 1)) {}

/// Eight bits of an epoch are kept. The entry was written in no earlier one than this, if the epochs before are right.
std::uint64_t entry_walk::epoch_at_least(std::uint64_t meta) const noexcept {
    const std::uint64_t floor = std::max<std::uint64_t>(epoch_, 1);  // the first writer has number 1
    const std::uint64_t same_round = (floor & ~std::uint64_t{0xff}) | entry_meta::epoch(meta);
    return same_round >= floor ? same_round : same_round + 256;
}

unsigned entry_walk::epochs_ago(std::uint64_t meta) const noexcept {
    return (static_cast<unsigned>(place_.epoch.value_or(0)) - entry_meta::epoch(meta)) & 0xff;
}

entry_fault entry_walk::check_epoch(std::uint64_t meta) const noexcept {
    if (!place_.epoch)
        return entry_fault::none;
    const bool fits = place_.as_recovery ? epochs_ago(meta) <= epochs_ago_ : epoch_at_least(meta) <= *place_.epoch;
    return fits ? entry_fault::none : entry_fault::epoch_order;
}

entry_walk::item entry_walk::look() {
    item seen{.offset = at_};
    if (place_.end - at_ < sizeof seen.header) {
        seen.fault = entry_fault::beyond_end;
        return seen;
    }
    auto& header = seen.header;
    header = window_.at<format::entry_header>(at_);
    if (header.payload_bytes == 0 && header.crc == 0 && header.meta == 0)
        seen.fault = entry_fault::never_written;
    else
        seen.fault = format::check_header(header.payload_bytes, header.meta, place_.end - at_, timestamp_);
    if (seen.fault == entry_fault::none && !place_.epoch_in_search_only)
        seen.fault = check_epoch(header.meta);
    if (seen.fault == entry_fault::none && window_.entry_crc(at_, header, place_.crc_seed) != header.crc)
        seen.fault = entry_fault::crc;
    return seen;
}

void entry_walk::step_over(const item& whole) {
    at_ = whole.end();
    epoch_ = epoch_at_least(whole.header.meta);
    epochs_ago_ = epochs_ago(whole.header.meta);
    if (!whole.filler())
        timestamp_ = whole.timestamp();
}

bool entry_walk::find_next() {
    for (at_ += 8; at_ < place_.end && place_.end - at_ >= sizeof(format::entry_header); at_ += 8) {
        const auto header = window_.at<format::entry_header>(at_);
        // What is cheap first: nearly every place is none of an entry.
        if (header.meta == 0 || entry_meta::timestamp(header.meta) > place_.timestamp_max ||
            format::check_header(header.payload_bytes, header.meta, place_.end - at_, timestamp_) !=
                entry_fault::none ||
            check_epoch(header.meta) != entry_fault::none)
            continue;
        if (window_.entry_crc(at_, header, place_.crc_seed) == header.crc)
            return true;
    }
    at_ = place_.end;
    return false;
}

bool entry_walk::padding_is_zero(const item& whole) {
    const std::uint64_t payload_end = whole.offset + sizeof(format::entry_header) + whole.header.payload_bytes;
    const auto padding = static_cast<std::size_t>(whole.end() - payload_end);
    const auto* const first = window_.view(payload_end, padding);
    return std::all_of(first, first + padding, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace pmemstream::tools
