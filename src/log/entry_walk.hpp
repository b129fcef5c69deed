#pragma once

#include "src/base/mapped.hpp"
#include "src/format/entry.hpp"
#include "src/log/stream_file.hpp"

#include <pmemstream/cursor.hpp>
#include <pmemstream/detail/append.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <cstdint>

namespace pmemstream {

namespace log {

enum class step : std::uint8_t { entry, nothing_yet, gone, damaged, faulted };

}  // namespace log

/// A position in one region of a mapping that nobody vouches for: every offset and size is checked before it is used.
/// Thread safety: none.
class entry_walk {
public:
    /// `cold` as read_cold() gave it, `view` of the same generation.
    entry_walk(const log::stream_file& file, const format::region_slot& slot, const detail::generation_view& view,
               const format::slot_cold& cold, horizon horizon, bool check_crc) noexcept;

    /// Steps over the next entry, which shown() then is.
    [[nodiscard]] log::step next() noexcept;
    /// The usual case of next(), inline: false, and nothing done, where anything needs a closer look.
    [[nodiscard, gnu::always_inline]] bool next_plain() noexcept { return next_usual<usual::plain>(); }
    /// The same where CRCs are checked.
    [[nodiscard, gnu::always_inline]] bool next_checked() noexcept { return next_usual<usual::checked>(); }
    /// The same for short payloads: without a call, whoever calls it saves no registers.
    [[nodiscard, gnu::always_inline]] bool next_chained() noexcept { return next_usual<usual::chained>(); }
    [[nodiscard]] bool checks_crc() const noexcept { return usual_ >= usual::checked; }
    /// Asks for two lines that will be read in a while: where an entry begins two further on, if they are alike, or at
    /// least 512 bytes on. It must not depend on what the next step reads, which may be waiting for the memory itself.
    /// Inlined by force, or the compiler takes it for a function without any effect and drops the call.
    [[gnu::always_inline]] void prefetch() const noexcept {
        const std::uint64_t bytes = 2 * format::entry_bytes(payload_bytes_);
        const std::byte* const ahead = payload_ + (bytes < 512 ? 512 : bytes);
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + 64);
    }
    /// The parts of the entry that was stepped over last, from which an `entry` is made where it is wanted: copying one
    /// costs as much as the step.
    [[nodiscard]] const detail::generation_view& view() const noexcept { return *view_; }
    [[nodiscard]] const std::byte* payload() const noexcept { return payload_; }
    [[nodiscard]] std::uint32_t payload_bytes() const noexcept { return payload_bytes_; }
    [[nodiscard]] timestamp shown_timestamp() const noexcept { return timestamp{last_}; }
    [[nodiscard]] entry shown() const noexcept { return {*view_, payload_, payload_bytes_, timestamp{last_}}; }
    /// Steps back before the entry that was stepped over last: somebody else shows that timestamp. Gives what is wrong.
    [[nodiscard]] log::step refuse_shown() noexcept;
    /// What went wrong, after next() gave something other than an entry or nothing.
    [[nodiscard]] tl::unexpected<error> failure(log::step why) const;

    /// Looks again how far the horizon reaches: `entry` if something lies before it, else as next().
    [[nodiscard]] log::step refresh() noexcept;

    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
    [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
    /// What refresh() looks at, and what it saw.
    [[nodiscard]] const std::uint64_t& limit_word() const noexcept { return *limit_word_; }
    [[nodiscard]] std::uint64_t limit_seen() const noexcept { return limit_seen_; }
    /// Newest timestamp and end of what the horizon shows now.
    [[nodiscard]] std::uint64_t newest() const noexcept { return base::load_acquire(*newest_word_); }
    [[nodiscard]] std::uint64_t limit_now() const noexcept { return limit_of(base::load_acquire(*limit_word_)); }
    [[nodiscard]] std::uint64_t last() const noexcept { return last_; }
    [[nodiscard]] const format::region_slot& slot() const noexcept { return *slot_; }
    [[nodiscard]] region where() const noexcept { return {view_->region_index, format::generation_of(state_)}; }
    [[nodiscard]] std::uint64_t state() const noexcept { return state_; }

    /// For a stream that no writer has recovered yet: checks CRCs, and looks before every step whether the end has
    /// moved back.
    void distrust() noexcept {
        distrusted_ = check_crc_ = true;
        usual_ = usual::none;
    }

    /// To the end of what the horizon shows.
    void skip_to_newest() noexcept { position_ = limit_; }
    /// To the first entry with a greater timestamp, whenever it comes. Gives `nothing_yet` where that is the end, or
    /// what is wrong.
    [[nodiscard]] log::step skip_after(std::uint64_t timestamp) noexcept;
    /// To an offset where an entry with a right CRC begins, or the end of what the horizon shows. False: none does.
    [[nodiscard]] bool skip_to(std::uint64_t offset) noexcept;

private:
    [[nodiscard]] log::step judge(format::entry_fault fault) noexcept;
    [[nodiscard]] log::step not_ours() const noexcept;
    // [V7] acquire; the header was read before the state word. Pairs with [V5] in region_allocation.cpp.
    //      Without it: an entry of a later use of the blocks is shown as one of this region.
    [[nodiscard]] bool still_ours() const noexcept {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return base::load_relaxed(*state_word_) == state_;
    }
    void step_over(const std::byte* at, std::uint32_t payload_bytes, std::uint64_t meta) noexcept {
        position_ += format::entry_bytes(payload_bytes);
        last_ = format::entry_meta::timestamp(meta);
        payload_ = at + sizeof(format::entry_header);
        payload_bytes_ = payload_bytes;
    }

    [[nodiscard]] std::uint64_t limit_of(std::uint64_t word) const noexcept {
        return persisted_ ? format::persisted_offset_of(word) : word;
    }
    /// Remembers the entry's epoch where the CRC is right.
    [[nodiscard]] bool crc_is_right(const std::byte* at, std::uint32_t payload_bytes, std::uint64_t meta,
                                    std::uint32_t crc, std::uint64_t offset) noexcept;

    /// Which steps need no closer look than next_usual() has.
    enum class usual : std::uint8_t {
        none,  // there is a floor, or the stream is distrusted
        plain,
        checked,  // CRCs are
        chained,  // they are, and the processor has an instruction for those of short payloads
    };
    template <usual Way>
    [[nodiscard, gnu::always_inline]] bool next_usual() noexcept;
    void settle() noexcept { usual_ = distrusted_ ? usual::none : ordinary_; }

    // First what every step needs: a merged cursor has many walks, whose lines all have to stay in the first cache.
    const std::byte* bytes_;  // of the file
    std::uint64_t position_;
    std::uint64_t limit_;  // an end of entries that was checked
    std::uint64_t last_ = 0;
    const std::uint64_t* state_word_;
    std::uint64_t state_;
    const std::byte* payload_ = nullptr;
    std::uint32_t payload_bytes_ = 0;
    std::uint32_t seed_;
    const detail::generation_view* view_;
    // Of the entry whose CRC next() checked last; the next one's is likely the same.
    std::uint64_t epoch_bits_ = ~std::uint64_t{0};
    std::uint32_t crc_of_epoch_ = 0;  // see format::crc_of_epoch()
    usual usual_;
    usual ordinary_;  // as usual_, once there is no floor
    bool check_crc_;
    bool distrusted_ = false;
    bool persisted_;  // on the persisted horizon
    format::entry_fault fault_ = format::entry_fault::none;

    const log::stream_file* file_;
    const format::region_slot* slot_;
    const std::uint64_t* limit_word_;   // commit offset or persisted word
    const std::uint64_t* newest_word_;  // the timestamp beside it
    std::uint64_t limit_seen_ = 0;
    std::uint64_t begin_;
    std::uint64_t end_;
    std::uint64_t floor_ = 0;  // entries up to this timestamp are passed over
};

template <entry_walk::usual Way>
inline bool entry_walk::next_usual() noexcept {
    const std::uint64_t room = limit_ - position_;
    if (room < sizeof(format::entry_header) || (Way == usual::checked ? usual_ < Way : usual_ != Way))
        return false;
    const std::byte* const at = bytes_ + position_;
    const auto& header = *reinterpret_cast<const format::entry_header*>(at);
    const std::uint32_t payload_bytes = base::load_relaxed(header.payload_bytes);
    const std::uint64_t meta = base::load_relaxed(header.meta);
    if (format::entry_bytes(payload_bytes) > room ||
        (Way == usual::chained && payload_bytes > detail::short_payload_bytes_max))
        return false;
    if constexpr (Way != usual::plain) {
        // Nothing but this comparison waits for the CRC: those of neighbouring entries overlap.
        const std::byte* const payload = at + sizeof(format::entry_header);
        const std::uint32_t crc =
            Way == usual::chained ? base::crc32c_chain(seed_, payload, payload_bytes, payload_bytes, meta, position_)
                                  : base::crc32c_extend_u64s(base::crc32c_extend(seed_, payload, payload_bytes),
                                                             payload_bytes, meta, position_);
        if ((crc ^ base::load_relaxed(header.crc)) != crc_of_epoch_)
            return false;
    }
    // One comparison for the bits that are always zero and, where it matters, the epoch.
    constexpr std::uint64_t told = format::entry_meta::timestamp_mask | format::entry_meta::more_bit;
    constexpr std::uint64_t unusual = format::entry_meta::reserved_mask | format::entry_meta::filler_bit;
    const bool is_usual = Way == usual::plain ? (meta & unusual) == 0 : (meta & ~told) == epoch_bits_;
    if (!is_usual || format::entry_meta::timestamp(meta) <= last_ || !still_ours())
        return false;
    step_over(at, payload_bytes, meta);
    return true;
}

}  // namespace pmemstream
