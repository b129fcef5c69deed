#include "src/recovery/scan.hpp"

#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/format/rescan.hpp"

#include <pmemstream/types.hpp>

#include <algorithm>
#include <cstring>

namespace pmemstream::core {

using format::entry_fault;
using format::entry_meta;

namespace {

struct scan_position {
    std::uint64_t at = 0;  // index into the bytes
    std::uint64_t sequence = 0;
    std::uint64_t epoch = 0;
};

/// The epoch that an entry behind the trusted offset may be of, if any.
/// [P14] No entry of this stream is younger than its header's epoch. Pairs with [P13] in writer.cpp.
///       And none follows one of a later writer: what does is the old neighbour of an entry that was cut.
format::epoch_range possible_epochs(const scan_input& input, const scan_position& position,
                                    std::uint64_t meta) noexcept {
    if (base::mutated(base::mutant::epoch_order_ignored)) {
        const std::uint64_t any = input.epoch - format::epochs_ago(input.epoch, entry_meta::epoch(meta));
        return {any, any};
    }
    const auto epoch = format::recent_epoch(input.epoch, entry_meta::epoch(meta));
    return epoch && *epoch >= position.epoch ? format::epoch_range{*epoch, *epoch} : format::epoch_range{};
}

format::entry_header header_at(const scan_input& input, const scan_position& position) noexcept {
    format::entry_header header{};
    if (input.bytes.size() - position.at >= sizeof header)
        std::memcpy(&header, input.bytes.data() + position.at, sizeof header);
    return header;
}

/// Payloads longer than `payload_bytes_max` count as damaged without being read.
format::checked_entry check(const scan_input& input, const scan_position& position, const format::entry_header& header,
                            std::uint64_t payload_bytes_max) noexcept {
    // [P6] Zeros end the scan. Pairs with [P5] in recovery.cpp.
    if (input.bytes.size() - position.at < sizeof header)
        return {entry_fault::never_written};
    return format::check_entry(
        header,
        {.offset = input.offset + position.at,
         .room = input.bytes.size() - position.at,
         .previous_sequence = position.sequence,
         .crc_seed = input.crc_seed},
        [&](std::uint64_t meta) {
            return header.payload_bytes > payload_bytes_max ? format::epoch_range{}
                                                            : possible_epochs(input, position, meta);
        },
        [&](const format::entry_header& whole, std::uint32_t seed) {
            return format::payload_crc_state(input.bytes.data() + position.at, whole.payload_bytes, whole.meta, seed);
        });
}

void step_over(scan_position& position, const format::entry_header& header, std::uint64_t epoch) noexcept {
    position.at += format::entry_bytes(header.payload_bytes);
    position.epoch = epoch;
    if (!entry_meta::is_system(header.meta))
        position.sequence = entry_meta::sequence(header.meta);
}

/// What [P6] forbids.
void pass_over_zeros(const scan_input& input, scan_position& position) noexcept {
    std::uint64_t word = 0;
    for (; input.bytes.size() - position.at >= sizeof word; position.at += sizeof word) {
        std::memcpy(&word, input.bytes.data() + position.at, sizeof word);
        if (word != 0)
            return;
    }
}

/// Whether anything whole lies not far behind a damaged or missing entry. The lengths before it are lost, so every place
/// is tried; a header that cannot be one costs next to nothing.
bool whole_entry_behind(const scan_input& input, scan_position position) noexcept {
    std::uint64_t to_verify_bytes = format::search_payload_bytes_max;
    const std::uint64_t last = std::min<std::uint64_t>(input.bytes.size(), position.at + format::search_bytes_max);
    for (position.at += 8; position.at + sizeof(format::entry_header) <= last; position.at += 8) {
        const auto header = header_at(input, position);
        const auto checked = check(input, position, header, to_verify_bytes);
        if (checked.fault == entry_fault::none || checked.fault == entry_fault::unsupported)
            return true;
        if (checked.fault == entry_fault::crc || checked.fault == entry_fault::reserved_bits)
            to_verify_bytes -= std::min<std::uint64_t>(to_verify_bytes, header.payload_bytes);
    }
    return false;
}

}  // namespace

scan_result scan(const scan_input& input) noexcept {
    scan_result found{.end = input.offset, .sequence = input.previous_sequence};
    scan_position position{.sequence = input.previous_sequence, .epoch = input.oldest_epoch};
    std::uint64_t entries = 0;
    bool in_batch = false;
    entry_fault fault = entry_fault::none;
    for (;;) {
        if (base::mutated(base::mutant::zeros_passed_over))
            pass_over_zeros(input, position);
        const auto header = header_at(input, position);
        const auto checked = check(input, position, header, payload_bytes_max);
        fault = checked.fault;
        const bool system = entry_meta::is_system(header.meta);
        if (fault != entry_fault::none || (in_batch && system))
            break;
        if (system && entry_meta::type(header.meta) == format::system_type::mark)
            found.mark_offset = input.offset + position.at;
        step_over(position, header, checked.epoch);
        entries += system ? 0 : 1;
        in_batch = (header.meta & entry_meta::more_bit) != 0;
        if (!in_batch) {
            found.end = input.offset + position.at;
            found.sequence = position.sequence;
            found.entries = entries;
        }
    }
    if (fault == entry_fault::unsupported)
        found.unsupported = input.offset + position.at;
    found.whole_entry_behind = whole_entry_behind(input, position);
    found.cut = in_batch || fault != entry_fault::never_written || found.whole_entry_behind;
    return found;
}

std::optional<std::uint64_t> whole_entry_sequence(const scan_input& input) noexcept {
    const scan_position position{.sequence = input.previous_sequence, .epoch = input.oldest_epoch};
    const auto header = header_at(input, position);
    const auto fault = check(input, position, header, payload_bytes_max).fault;
    if (fault != entry_fault::none && fault != entry_fault::unsupported)
        return std::nullopt;
    return entry_meta::is_system(header.meta) ? 0 : entry_meta::sequence(header.meta);
}

}  // namespace pmemstream::core
