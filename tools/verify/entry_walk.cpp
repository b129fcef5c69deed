#include "tools/verify/entry_walk.hpp"

#include "src/format/rescan.hpp"

#include <algorithm>

namespace pmemstream::tools {

using format::entry_fault;
using format::entry_meta;

namespace {

// What a search may cost. Bytes that look like headers again and again must not have all that follows them read each
// time; an entry as large as the region is still found.
constexpr std::uint64_t to_verify_bytes_least = std::uint64_t{64} << 20;
constexpr std::uint64_t to_verify_bytes_per_step = 64;
constexpr std::uint64_t epochs_to_try_least = std::uint64_t{1} << 24;
constexpr std::uint64_t epochs_to_try_per_step = 4;
// Where nothing tells which writer was the last: each epoch that is tried is a chance for bytes that were no entry.
constexpr std::uint64_t epochs_without_header = 16;

}  // namespace

entry_walk::entry_walk(const media& from, const walk_place& place, std::size_t window_bytes)
    : place_(place),
      window_(from, window_bytes),
      at_(place.begin),
      sequence_(place.first_sequence - std::min<std::uint64_t>(place.first_sequence, 1)),
      to_verify_bytes_(to_verify_bytes_least + 2 * (place.end - std::min(place.begin, place.end))),
      epochs_to_try_(epochs_to_try_least) {}

std::uint64_t entry_walk::newest_epoch() const noexcept {
    return std::max(place_.epoch.value_or(format::epoch_max), epoch_);
}

/// Those that an entry at the position may be of.
format::epoch_range entry_walk::epochs_for(std::uint64_t meta, std::uint64_t most) const noexcept {
    const std::uint64_t behind = at_ >= place_.persisted.offset ? place_.persisted.epoch : 0;
    const std::uint64_t least = std::max({epoch_, behind, std::uint64_t{1}});  // the first writer has number 1
    if (!place_.as_recovery)
        return format::epochs_of(meta, least, most);
    const auto epoch = format::recent_epoch(*place_.epoch, entry_meta::epoch(meta));
    return epoch && *epoch >= least ? format::epoch_range{*epoch, *epoch} : format::epoch_range{};
}

format::entry_place entry_walk::here() const noexcept {
    return {.offset = at_, .room = place_.end - at_, .previous_sequence = sequence_, .crc_seed = place_.crc_seed};
}

/// Whole, but of a writer that cannot have written here: something else than a damaged entry.
bool entry_walk::is_of_another_writer(const item& seen) {
    const auto any = format::epochs_of(seen.header.meta, 0, newest_epoch() + 256);
    const std::uint32_t state = window_.payload_state(at_, seen.header, place_.crc_seed);
    return format::matching_epoch(seen.header, state, at_, any) != 0;
}

entry_walk::item entry_walk::look() {
    item seen{.offset = at_};
    if (place_.end - at_ >= sizeof seen.header)
        seen.header = window_.at<format::entry_header>(at_);
    const auto checked = format::check_entry(
        seen.header, here(),
        [this](std::uint64_t meta) {
            return epochs_for(meta, newest_epoch() + (place_.header_may_be_older ? 256 : 0));
        },
        [this](const format::entry_header& header, std::uint32_t seed) {
            return window_.payload_state(at_, header, seed);
        });
    seen.fault = checked.fault;
    seen.epoch = checked.epoch;
    if ((seen.fault == entry_fault::crc || seen.fault == entry_fault::epoch_order) && !place_.as_recovery)
        seen.fault = is_of_another_writer(seen) ? entry_fault::epoch_order : entry_fault::crc;
    return seen;
}

void entry_walk::step_over(const item& whole) {
    at_ = whole.end();
    epoch_ = whole.epoch;
    if (!whole.system())
        sequence_ = whole.sequence();
}

bool entry_walk::verifies_in_search(const format::entry_header& header, std::uint64_t& to_verify_bytes) {
    // What is cheap first: nearly every place is none of an entry.
    if (header.meta == 0 ||
        (!entry_meta::is_system(header.meta) && entry_meta::sequence(header.meta) > place_.sequence_max))
        return false;
    const auto checked = format::check_entry(
        header, here(),
        [&](std::uint64_t meta) {
            auto range = epochs_for(meta, newest_epoch());
            if (range.empty() || header.payload_bytes > to_verify_bytes)
                return format::epoch_range{};
            to_verify_bytes -= header.payload_bytes;
            const bool header_lost = !place_.epoch && epoch_ != 0;
            const std::uint64_t tries = std::min({range.size(), std::max(epochs_to_try_, epochs_without_header),
                                                  header_lost ? epochs_without_header : format::epoch_max});
            epochs_to_try_ -= std::min(epochs_to_try_, tries);
            // Entries of neighbouring writers are neighbours: the oldest that may be.
            range.last = range.first + (tries - 1) * 256;
            return range;
        },
        [this](const format::entry_header& whole, std::uint32_t seed) {
            return window_.payload_state(at_, whole, seed);
        });
    return checked.fault == entry_fault::none || checked.fault == entry_fault::unsupported;
}

/// As whole_entry_behind() in src/recovery/scan.cpp; a test compares how far the two look.
bool entry_walk::find_as_recovery() {
    std::uint64_t to_verify_bytes = format::search_payload_bytes_max;
    const std::uint64_t last = std::min(place_.end, at_ + format::search_bytes_max);
    for (at_ += 8; at_ + sizeof(format::entry_header) <= last; at_ += 8)
        if (verifies_in_search(window_.at<format::entry_header>(at_), to_verify_bytes))
            return true;
    at_ = place_.end;
    return false;
}

bool entry_walk::find_next() {
    if (place_.as_recovery)
        return find_as_recovery();
    for (at_ += 8; at_ < place_.end && place_.end - at_ >= sizeof(format::entry_header); at_ += 8) {
        to_verify_bytes_ += to_verify_bytes_per_step;
        epochs_to_try_ += epochs_to_try_per_step;
        if (verifies_in_search(window_.at<format::entry_header>(at_), to_verify_bytes_))
            return true;
    }
    at_ = place_.end;
    return false;
}

std::vector<std::byte> entry_walk::payload_of(const item& whole) {
    const auto* const first = window_.view(whole.offset, sizeof whole.header + whole.header.payload_bytes);
    return {first + sizeof whole.header, first + sizeof whole.header + whole.header.payload_bytes};
}

bool entry_walk::padding_is_zero(const item& whole) {
    const std::uint64_t payload_end = whole.offset + sizeof(format::entry_header) + whole.header.payload_bytes;
    const auto padding = static_cast<std::size_t>(whole.end() - payload_end);
    const auto* const first = window_.view(payload_end, padding);
    return std::all_of(first, first + padding, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace pmemstream::tools
