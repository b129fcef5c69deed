#pragma once

#include "src/format/entry.hpp"
#include "tools/verify/media.hpp"

#include <cstdint>
#include <optional>

namespace pmemstream::tools {

/// Where entries of one generation are looked for, and what they are believed by.
struct walk_place {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint32_t crc_seed = 0;
    std::uint64_t first_timestamp = 0;        ///< none has a smaller one
    std::uint64_t timestamp_max = 0;          ///< none that is found without a length leading to it has a greater one
    std::optional<std::uint64_t> epoch = {};  ///< of the header; none is newer
    bool epoch_in_search_only = false;        ///< along the lengths, a header that is at odds with an entry is wrong
    bool as_recovery = false;                 ///< epochs are judged as an opening writer does behind a persisted offset
};

/// Walks from entry to entry by length and checks everything in them. Behind a damaged one it can find its feet again.
class entry_walk {
public:
    entry_walk(const media& from, const walk_place& place, std::size_t window_bytes);

    struct item {
        std::uint64_t offset = 0;
        format::entry_header header{};
        format::entry_fault fault = format::entry_fault::none;

        [[nodiscard]] bool filler() const noexcept { return (header.meta & format::entry_meta::filler_bit) != 0; }
        [[nodiscard]] bool more() const noexcept { return (header.meta & format::entry_meta::more_bit) != 0; }
        [[nodiscard]] std::uint64_t timestamp() const noexcept { return format::entry_meta::timestamp(header.meta); }
        [[nodiscard]] std::uint64_t end() const noexcept { return offset + format::entry_bytes(header.payload_bytes); }
    };

    /// The entry at the position, or what is wrong with it. Not at the end.
    [[nodiscard]] item look();
    /// Behind an entry that look() found whole.
    void step_over(const item& whole);
    /// To the next entry behind the position that verifies and whose timestamp and epoch can follow; to the end if
    /// there is none (then false).
    bool find_next();
    /// The payload of a whole data entry is followed by zeros up to the next multiple of 8.
    [[nodiscard]] bool padding_is_zero(const item& whole);

    [[nodiscard]] std::uint64_t position() const noexcept { return at_; }
    [[nodiscard]] bool at_end() const noexcept { return at_ >= place_.end; }
    [[nodiscard]] std::uint64_t end() const noexcept { return place_.end; }
    [[nodiscard]] std::uint64_t timestamp() const noexcept { return timestamp_; }
    void go_to(std::uint64_t offset) noexcept { at_ = offset; }

private:
    [[nodiscard]] format::entry_fault check_epoch(std::uint64_t meta) const noexcept;
    [[nodiscard]] std::uint64_t epoch_at_least(std::uint64_t meta) const noexcept;
    [[nodiscard]] unsigned epochs_ago(std::uint64_t meta) const noexcept;

    walk_place place_;
    window window_;
    std::uint64_t at_;
    std::uint64_t timestamp_;
    std::uint64_t epoch_ = 0;    // the least that the entries so far allow
    unsigned epochs_ago_ = 127;  // as_recovery
};

}  // namespace pmemstream::tools
