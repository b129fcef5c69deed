#pragma once

#include "src/base/checked.hpp"
#include "src/base/crc32c.hpp"
#include "src/base/mutant.hpp"
#include "src/format/layout.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

// An entry: 16-byte header, payload, zeros up to a multiple of 8. Everybody who reads entries (cursors, recovery, verify,
// salvage) checks them by check_entry(), or by the two parts of it.
namespace pmemstream::format {

/// The types of system entries. A reader skips those that it does not know; a recovery keeps them.
enum class system_type : std::uint8_t {
    filler = 0,  ///< an abandoned claim
    head = 1,    ///< first in a region: see system_entry.hpp
    time = 2,    ///< its argument is the time in microseconds, modulo 2^44; no payload
    mark = 3,    ///< see system_entry.hpp
    lost = 4,    ///< a damaged range that a repair stepped over; its argument is the number of indexes in it
};

/// The 64-bit word of an entry header: sequence in bits 0–51, epoch mod 256 in 52–59, system 60, more 61, zero 62–63. In a
/// system entry the sequence's place holds an argument (0–43) and the type (44–51).
struct entry_meta {
    static constexpr std::uint64_t sequence_mask = sequence_max;
    static constexpr unsigned type_shift = 44;
    static constexpr std::uint64_t argument_mask = (std::uint64_t{1} << type_shift) - 1;
    static constexpr unsigned epoch_shift = 52;
    static constexpr std::uint64_t system_bit = std::uint64_t{1} << 60;
    static constexpr std::uint64_t more_bit = std::uint64_t{1} << 61;
    static constexpr std::uint64_t reserved_mask = std::uint64_t{3} << 62;

    [[nodiscard]] static constexpr std::uint64_t epoch_bits(std::uint64_t epoch) noexcept {
        return (epoch & 0xff) << epoch_shift;
    }
    [[nodiscard]] static constexpr std::uint64_t sequence(std::uint64_t meta) noexcept { return meta & sequence_mask; }
    [[nodiscard]] static constexpr std::uint8_t epoch(std::uint64_t meta) noexcept {
        return static_cast<std::uint8_t>(meta >> epoch_shift);
    }
    [[nodiscard]] static constexpr bool is_system(std::uint64_t meta) noexcept { return (meta & system_bit) != 0; }
    [[nodiscard]] static constexpr system_type type(std::uint64_t meta) noexcept {
        return static_cast<system_type>(meta >> type_shift & 0xff);
    }
    [[nodiscard]] static constexpr std::uint64_t argument(std::uint64_t meta) noexcept { return meta & argument_mask; }
    /// Without the epoch.
    [[nodiscard]] static constexpr std::uint64_t system(system_type type, std::uint64_t argument = 0) noexcept {
        return system_bit | static_cast<std::uint64_t>(type) << type_shift | (argument & argument_mask);
    }
};

/// Whether an entry's CRC covers its payload: not where that is whatever was left there.
[[nodiscard]] constexpr bool crc_covers_payload(std::uint64_t meta) noexcept {
    return !entry_meta::is_system(meta) ||
           (entry_meta::type(meta) != system_type::filler && entry_meta::type(meta) != system_type::lost);
}

/// Header, payload and padding.
[[nodiscard]] constexpr std::uint64_t entry_bytes(std::uint64_t payload_bytes) noexcept {
    return base::round_up(sizeof(entry_header) + payload_bytes, 8);
}

/// The CRC register with which the CRC of every entry of a region begins: bytes that were written for another stream,
/// or for an earlier use of the same blocks, never verify.
[[nodiscard]] std::uint32_t entry_crc_seed(const std::array<std::byte, 16>& uuid, std::uint64_t generation) noexcept;

/// What an entry's CRC takes of its writer's epoch: the bits that its header has no room for. So what a recovery cut does
/// not look new again 256 writers later.
[[nodiscard]] inline std::uint64_t epoch_high_bits(std::uint64_t epoch) noexcept {
    return base::mutated(base::mutant::epoch_high_bits_not_in_crc) ? 0 : epoch >> 8 << 32;
}

/// Ends an entry's CRC: `payload_state` is the register after the payload (the seed, where the CRC does not cover the
/// payload). The offset keeps an entry that was copied elsewhere from verifying.
[[nodiscard]] inline std::uint32_t entry_crc(std::uint32_t payload_state, std::uint32_t payload_bytes,
                                             std::uint64_t epoch, std::uint64_t meta, std::uint64_t offset) noexcept {
    return ~base::crc32c_extend_u64s(payload_state, payload_bytes | epoch_high_bits(epoch), meta, offset);
}

/// What an epoch, and the final inversion, add (by exclusive or, as CRCs of one length do) to the CRC of a header without
/// its high bits: the same for every entry of that epoch.
[[nodiscard]] inline std::uint32_t crc_of_epoch(std::uint64_t epoch) noexcept {
    return entry_crc(0, 0, epoch, 0, 0);
}

/// What is wrong with an entry; `none` if nothing.
enum class entry_fault : std::uint8_t {
    none,
    never_written,    ///< all zero
    unsupported,      ///< whole, with a bit that a later version of the format gave a meaning
    reserved_bits,    ///< the same bits, and the CRC does not verify: damage
    beyond_end,       ///< it would end behind the limit
    sequence_order,   ///< not greater than the one before
    system_in_batch,  ///< a system entry that says that a batch goes on
    epoch_order,      ///< of an earlier writer than the one before, or of none yet (recovery only)
    crc,
};
[[nodiscard]] const char* to_string(entry_fault fault) noexcept;

/// Header checks that need no CRC, for an entry that has `room` bytes up to the end of what was written. The caller has
/// made sure that a header fits. Of `reserved_bits` only the CRC tells what it means: see fault_with_crc().
[[nodiscard]] inline entry_fault check_header(std::uint32_t payload_bytes, std::uint64_t meta, std::uint64_t room,
                                              std::uint64_t previous_sequence) noexcept {
    if (entry_bytes(payload_bytes) > room) [[unlikely]]
        return entry_fault::beyond_end;
    if ((meta & (entry_meta::reserved_mask | entry_meta::system_bit)) == 0) [[likely]]
        return entry_meta::sequence(meta) > previous_sequence ? entry_fault::none : entry_fault::sequence_order;
    if ((meta & entry_meta::reserved_mask) != 0)
        return entry_fault::reserved_bits;
    return (meta & entry_meta::more_bit) == 0 ? entry_fault::none : entry_fault::system_in_batch;
}

/// What check_header() found, once it is known whether the CRC verifies.
[[nodiscard]] constexpr entry_fault fault_with_crc(entry_fault by_header, bool verifies) noexcept {
    if (by_header == entry_fault::reserved_bits)
        return verifies ? entry_fault::unsupported : entry_fault::reserved_bits;
    return verifies || by_header != entry_fault::none ? by_header : entry_fault::crc;
}

/// The register after the payload of the entry at `entry`, as entry_crc() takes it.
[[nodiscard]] inline std::uint32_t payload_crc_state(const std::byte* entry, std::uint32_t payload_bytes,
                                                     std::uint64_t meta, std::uint32_t seed) noexcept {
    return crc_covers_payload(meta) ? base::crc32c_extend(seed, entry + sizeof(entry_header), payload_bytes) : seed;
}

/// Epochs that have the same eight bits: first, first + 256, … up to last.
struct epoch_range {
    std::uint64_t first = 1;
    std::uint64_t last = 0;

    [[nodiscard]] constexpr bool empty() const noexcept { return first > last; }
    [[nodiscard]] constexpr std::uint64_t size() const noexcept { return empty() ? 0 : (last - first) / 256 + 1; }
};

/// Those with the bits of `meta` from `least` up to `most`.
[[nodiscard]] constexpr epoch_range epochs_of(std::uint64_t meta, std::uint64_t least, std::uint64_t most) noexcept {
    return {least + ((entry_meta::epoch(meta) - least) & 0xff), most};
}

/// The epoch for which an entry's CRC is right: the newest of the range that is, of the newest `tries`. 0, which no
/// entry has: none. An entry's header has eight bits of its writer's epoch, the others are in its CRC.
[[nodiscard]] std::uint64_t matching_epoch(const entry_header& header, std::uint32_t payload_state,
                                           std::uint64_t offset, epoch_range epochs) noexcept;

/// Where an entry stands that is to be checked, and what may precede it.
struct entry_place {
    std::uint64_t offset = 0;  ///< of its header, in the file
    std::uint64_t room = 0;    ///< bytes from there to the end of what was written
    std::uint64_t previous_sequence = 0;
    std::uint32_t crc_seed = 0;
};

struct checked_entry {
    entry_fault fault = entry_fault::none;
    std::uint64_t epoch = 0;  ///< all of it, where the CRC is right
};

/// Checks an entry. `epochs(meta)`: those that its writer may have had; where there are none the fault is `epoch_order`.
/// `payload_state(header, seed)`: as payload_crc_state(). Both are called only where the header makes sense.
template <class Epochs, class Payload_state>
[[nodiscard]] checked_entry check_entry(const entry_header& header, const entry_place& place, const Epochs& epochs,
                                        const Payload_state& payload_state) {
    if (place.room < sizeof header)
        return {entry_fault::beyond_end};
    if (header.payload_bytes == 0 && header.crc == 0 && header.meta == 0)
        return {entry_fault::never_written};
    const auto fault = check_header(header.payload_bytes, header.meta, place.room, place.previous_sequence);
    if (fault != entry_fault::none && fault != entry_fault::reserved_bits)
        return {fault};
    const epoch_range possible = epochs(header.meta);
    if (possible.empty())
        return {fault == entry_fault::none ? entry_fault::epoch_order : fault};
    const std::uint64_t epoch = matching_epoch(header, payload_state(header, place.crc_seed), place.offset, possible);
    return {fault_with_crc(fault, epoch != 0), epoch};
}

}  // namespace pmemstream::format
