#pragma once

#include "src/format/entry.hpp"
#include "tools/verify/media.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace pmemstream::tools {

/// What a slot's persisted word tells of the entries behind it.
struct persisted_place {
    std::uint64_t offset = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t epoch = 0;  ///< none from there on is of an earlier writer
};

/// Where entries of one generation are looked for, and what they are believed by.
struct walk_place {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint32_t crc_seed = 0;
    std::uint64_t first_sequence = 0;         ///< none has a smaller one
    std::uint64_t sequence_max = 0;           ///< none that is found without a length leading to it has a greater one
    std::optional<std::uint64_t> epoch = {};  ///< of the header, where that can be read; none is newer
    persisted_place persisted = {};
    bool header_may_be_older = false;  ///< along the lengths, entries of a little later writers are believed
    bool as_recovery = false;          ///< as an opening writer does behind a persisted offset; needs `epoch`
};

/// Walks from entry to entry by length and checks everything in them. Behind a damaged one it can find its feet again.
class entry_walk {
public:
    entry_walk(const media& from, const walk_place& place, std::size_t window_bytes);

    struct item {
        std::uint64_t offset = 0;
        format::entry_header header{};
        std::uint64_t epoch = 0;  ///< all of it, where the entry is whole
        format::entry_fault fault = format::entry_fault::none;

        [[nodiscard]] bool system() const noexcept { return format::entry_meta::is_system(header.meta); }
        [[nodiscard]] format::system_type type() const noexcept { return format::entry_meta::type(header.meta); }
        [[nodiscard]] bool more() const noexcept { return (header.meta & format::entry_meta::more_bit) != 0; }
        [[nodiscard]] std::uint64_t sequence() const noexcept { return format::entry_meta::sequence(header.meta); }
        [[nodiscard]] std::uint64_t end() const noexcept { return offset + format::entry_bytes(header.payload_bytes); }
    };

    /// The entry at the position, or what is wrong with it. Not at the end.
    [[nodiscard]] item look();
    /// Behind an entry that look() found whole.
    void step_over(const item& whole);
    /// To the next entry behind the position that verifies and whose sequence and epoch can follow; to the end if
    /// there is none (then false). Costs time in proportion to the bytes, whatever they hold. As a recovery, it looks as
    /// far as that does.
    bool find_next();
    /// The payload of a mark or a head that look() found whole.
    [[nodiscard]] std::vector<std::byte> payload_of(const item& whole);
    /// The payload of a whole entry whose CRC covers it is followed by zeros up to the next multiple of 8.
    [[nodiscard]] bool padding_is_zero(const item& whole);

    [[nodiscard]] std::uint64_t position() const noexcept { return at_; }
    [[nodiscard]] bool at_end() const noexcept { return at_ >= place_.end; }
    [[nodiscard]] std::uint64_t end() const noexcept { return place_.end; }
    [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }
    /// Of the entry before the position; 0 before the first.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

private:
    [[nodiscard]] format::epoch_range epochs_for(std::uint64_t meta, std::uint64_t most) const noexcept;
    [[nodiscard]] std::uint64_t newest_epoch() const noexcept;
    [[nodiscard]] format::entry_place here() const noexcept;
    [[nodiscard]] bool is_of_another_writer(const item& seen);
    [[nodiscard]] bool verifies_in_search(const format::entry_header& header, std::uint64_t& to_verify_bytes);
    bool find_as_recovery();

    walk_place place_;
    window window_;
    std::uint64_t at_;
    std::uint64_t sequence_;
    std::uint64_t epoch_ = 0;
    std::uint64_t to_verify_bytes_;  // searching
    std::uint64_t epochs_to_try_;    // searching
};

}  // namespace pmemstream::tools
