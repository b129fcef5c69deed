#pragma once

#include "src/base/checked.hpp"
#include "src/base/crc32c.hpp"
#include "src/base/mutant.hpp"
#include "src/format/layout.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

// An entry: 16-byte header, payload, zeros up to a multiple of 8.
namespace pmemstream::format {

/// The 64-bit word of an entry header: sequence in bits 0–51, epoch mod 256 in 52–59, filler 60, more 61, zero 62–63.
struct entry_meta {
    static constexpr std::uint64_t sequence_mask = sequence_max;
    static constexpr unsigned epoch_shift = 52;
    static constexpr std::uint64_t filler_bit = std::uint64_t{1} << 60;
    static constexpr std::uint64_t more_bit = std::uint64_t{1} << 61;
    static constexpr std::uint64_t reserved_mask = std::uint64_t{3} << 62;

    [[nodiscard]] static constexpr std::uint64_t epoch_bits(std::uint64_t epoch) noexcept {
        return (epoch & 0xff) << epoch_shift;
    }
    [[nodiscard]] static constexpr std::uint64_t sequence(std::uint64_t meta) noexcept { return meta & sequence_mask; }
    [[nodiscard]] static constexpr std::uint8_t epoch(std::uint64_t meta) noexcept {
        return static_cast<std::uint8_t>(meta >> epoch_shift);
    }
};

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

/// Ends an entry's CRC: `payload_state` is the register after the payload (for a filler: the seed, since its payload is
/// whatever an abandoned reservation left). The offset keeps an entry that was copied elsewhere from verifying.
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
    never_written,   ///< all zero
    reserved_bits,   ///< of a later format, or damage
    beyond_end,      ///< it would end behind the limit
    sequence_order,  ///< not greater than the one before
    epoch_order,     ///< of an earlier writer than the one before, or of none yet (recovery only)
    crc,
};
[[nodiscard]] const char* to_string(entry_fault fault) noexcept;

/// Header checks that need no CRC, for an entry that has `room` bytes up to the end of what was written. The caller has
/// made sure that a header fits.
[[nodiscard]] inline entry_fault check_header(std::uint32_t payload_bytes, std::uint64_t meta, std::uint64_t room,
                                              std::uint64_t previous_sequence) noexcept {
    if (entry_bytes(payload_bytes) > room) [[unlikely]]
        return entry_fault::beyond_end;
    if ((meta & (entry_meta::reserved_mask | entry_meta::filler_bit)) == 0) [[likely]]
        return entry_meta::sequence(meta) > previous_sequence ? entry_fault::none : entry_fault::sequence_order;
    if ((meta & entry_meta::reserved_mask) != 0)
        return entry_fault::reserved_bits;
    // A filler takes no sequence and ends no batch.
    return (meta & (entry_meta::sequence_mask | entry_meta::more_bit)) == 0 ? entry_fault::none
                                                                            : entry_fault::sequence_order;
}

/// The register after the payload of the entry at `entry`, as entry_crc() takes it.
[[nodiscard]] inline std::uint32_t payload_crc_state(const std::byte* entry, std::uint32_t payload_bytes,
                                                     std::uint64_t meta, std::uint32_t seed) noexcept {
    const bool filler = (meta & entry_meta::filler_bit) != 0;
    return filler ? seed : base::crc32c_extend(seed, entry + sizeof(entry_header), payload_bytes);
}

/// The CRC that the entry at `entry` (in the file at `offset`), of a writer of that epoch, should carry.
[[nodiscard]] inline std::uint32_t expected_crc(const std::byte* entry, std::uint32_t payload_bytes,
                                                std::uint64_t epoch, std::uint64_t meta, std::uint64_t offset,
                                                std::uint32_t seed) noexcept {
    return entry_crc(payload_crc_state(entry, payload_bytes, meta, seed), payload_bytes, epoch, meta, offset);
}

/// The epoch up to `newest_epoch` that has the entry's eight bits and for which its CRC is right; nothing if there is none.
[[nodiscard]] std::optional<std::uint64_t> epoch_of_crc(const std::byte* entry, std::uint32_t payload_bytes,
                                                        std::uint64_t meta, std::uint32_t crc, std::uint64_t offset,
                                                        std::uint32_t seed, std::uint64_t newest_epoch) noexcept;

/// Whether the entry's CRC is right for any of these epochs.
[[nodiscard]] inline bool crc_matches(const std::byte* entry, std::uint32_t payload_bytes, std::uint64_t meta,
                                      std::uint32_t crc, std::uint64_t offset, std::uint32_t seed,
                                      std::uint64_t newest_epoch) noexcept {
    return epoch_of_crc(entry, payload_bytes, meta, crc, offset, seed, newest_epoch).has_value();
}

}  // namespace pmemstream::format
