#include "src/recovery/scan.hpp"

#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/format/rescan.hpp"

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

/// What the header at a position says, and what of it can be told without reading the payload.
entry_fault check_header(const scan_input& input, const scan_position& position,
                         format::entry_header& header) noexcept {
    const std::uint64_t room = input.bytes.size() - position.at;
    if (room < sizeof header)
        return entry_fault::never_written;
    std::memcpy(&header, input.bytes.data() + position.at, sizeof header);
    // [P6] Zeros end the scan. Pairs with [P5] in recovery.cpp.
    if (header.payload_bytes == 0 && header.crc == 0 && header.meta == 0)
        return entry_fault::never_written;
    if (const auto fault = format::check_header(header.payload_bytes, header.meta, room, position.sequence);
        fault != entry_fault::none)
        return fault;
    // [P14] No entry of this stream is younger than its header's epoch. Pairs with [P13] in writer.cpp.
    //       And none follows one of a later writer: what does is the old neighbour of an entry that was cut.
    const auto epoch = format::recent_epoch(input.epoch, entry_meta::epoch(header.meta));
    if (base::mutated(base::mutant::epoch_order_ignored))
        return entry_fault::none;
    return !epoch || *epoch < position.epoch ? entry_fault::epoch_order : entry_fault::none;
}

entry_fault check_entry(const scan_input& input, const scan_position& position, format::entry_header& header) noexcept {
    if (const auto fault = check_header(input, position, header); fault != entry_fault::none)
        return fault;
    const std::uint64_t epoch = input.epoch - format::epochs_ago(input.epoch, entry_meta::epoch(header.meta));
    const auto crc = format::expected_crc(input.bytes.data() + position.at, header.payload_bytes, epoch, header.meta,
                                          input.offset + position.at, input.crc_seed);
    return crc == header.crc ? entry_fault::none : entry_fault::crc;
}

void step_over(const scan_input& input, scan_position& position, const format::entry_header& header) noexcept {
    position.at += format::entry_bytes(header.payload_bytes);
    position.epoch = input.epoch - format::epochs_ago(input.epoch, entry_meta::epoch(header.meta));
    if ((header.meta & entry_meta::filler_bit) == 0)
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
        format::entry_header header{};
        if (check_header(input, position, header) != entry_fault::none || header.payload_bytes > to_verify_bytes)
            continue;
        to_verify_bytes -= header.payload_bytes;
        if (check_entry(input, position, header) == entry_fault::none)
            return true;
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
        format::entry_header header{};
        if (base::mutated(base::mutant::zeros_passed_over))
            pass_over_zeros(input, position);
        fault = check_entry(input, position, header);
        const bool filler = (header.meta & entry_meta::filler_bit) != 0;
        if (fault != entry_fault::none || (in_batch && filler))
            break;
        step_over(input, position, header);
        entries += filler ? 0 : 1;
        in_batch = (header.meta & entry_meta::more_bit) != 0;
        if (!in_batch) {
            found.end = input.offset + position.at;
            found.sequence = position.sequence;
            found.entries = entries;
        }
    }
    found.whole_entry_behind = whole_entry_behind(input, position);
    found.cut = in_batch || fault != entry_fault::never_written || found.whole_entry_behind;
    return found;
}

std::optional<std::uint64_t> whole_entry_sequence(const scan_input& input) noexcept {
    format::entry_header header{};
    const scan_position position{.sequence = input.previous_sequence, .epoch = input.oldest_epoch};
    if (check_entry(input, position, header) != entry_fault::none)
        return std::nullopt;
    return (header.meta & entry_meta::filler_bit) != 0 ? 0 : entry_meta::sequence(header.meta);
}

}  // namespace pmemstream::core
