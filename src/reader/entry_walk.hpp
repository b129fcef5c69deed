#pragma once

#include "src/base/mapped.hpp"
#include "src/format/entry.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/cursor.hpp>
#include <pmemstream/detail/step.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <cstdint>

namespace pmemstream {

namespace core {

enum class step : std::uint8_t { entry, nothing_yet, gone, damaged, unsupported, faulted };

}  // namespace core

/// A position in one region of a mapping that nobody vouches for: every offset and size is checked before it is used.
/// Thread safety: none.
class entry_walk {
public:
    /// `cold` as read_cold() gave it, `view` of the same generation.
    entry_walk(const core::stream_file& file, const format::region_slot& slot, const detail::generation_view& view,
               const format::slot_cold& cold, horizon horizon, bool check_crc) noexcept;

    /// Steps over the next entry, which shown() then is.
    [[nodiscard]] core::step next() noexcept;
    /// What the usual case of next() needs, for detail::plain_step() and its like.
    [[nodiscard]] detail::step_state& at() noexcept { return at_; }
    [[nodiscard]] const detail::step_state& at() const noexcept { return at_; }
    /// Its case of longer payloads whose CRCs are checked.
    [[nodiscard, gnu::always_inline]] detail::stepped checked_step() noexcept {
        return detail::usual_step<detail::usual::checked>(
            at_, [](std::uint32_t seed, const std::byte* payload, std::uint32_t bytes, std::uint64_t meta,
                    std::uint64_t position) {
                return base::crc32c_extend_u64s(base::crc32c_extend(seed, payload, bytes), bytes, meta, position);
            });
    }
    /// True, and shown() is that entry, if a usual step stepped over one.
    [[nodiscard, gnu::always_inline]] bool keep(const detail::stepped& over) noexcept {
        if (over.payload == nullptr)
            return false;
        at_.payload = over.payload;
        at_.payload_bytes = over.payload_bytes;
        return true;
    }
    /// The entry that next(), or a step that was kept, stepped over last.
    [[nodiscard]] entry shown() const noexcept {
        return {*at_.view, at_.payload, at_.payload_bytes, sequence{at_.last}};
    }
    /// Steps back before the entry that was stepped over last: somebody else shows that sequence. Gives what is wrong.
    [[nodiscard]] core::step refuse_shown() noexcept;
    /// What went wrong, after next() gave something other than an entry or nothing.
    [[nodiscard]] tl::unexpected<error> failure(core::step why) const;

    /// Looks again how far the horizon reaches: `entry` if something lies before it, else as next().
    [[nodiscard]] core::step refresh() noexcept;

    [[nodiscard]] std::uint64_t position() const noexcept { return at_.position; }
    [[nodiscard]] std::uint64_t limit() const noexcept { return at_.limit; }
    /// What refresh() looks at, and what it saw.
    [[nodiscard]] const std::uint64_t& limit_word() const noexcept { return *limit_word_; }
    [[nodiscard]] std::uint64_t limit_seen() const noexcept { return limit_seen_; }
    /// Newest sequence and end of what the horizon shows now.
    [[nodiscard]] std::uint64_t newest() const noexcept { return base::load_acquire(*newest_word_); }
    [[nodiscard]] std::uint64_t limit_now() const noexcept { return limit_of(base::load_acquire(*limit_word_)); }
    [[nodiscard]] std::uint64_t last() const noexcept { return at_.last; }
    /// Nothing but passing entries over has moved last() so far.
    [[nodiscard]] bool at_start() const noexcept { return at_.last == start_; }
    [[nodiscard]] const format::region_slot& slot() const noexcept { return *slot_; }
    [[nodiscard]] region where() const noexcept { return {at_.view->region_index, format::generation_of(at_.state)}; }
    [[nodiscard]] std::uint64_t state() const noexcept { return at_.state; }

    /// For a stream that no writer has recovered yet: checks CRCs, and looks before every step whether the end has
    /// moved back.
    void distrust() noexcept {
        distrusted_ = check_crc_ = true;
        at_.way = detail::usual::none;
    }

    /// To the end of what the horizon shows.
    void skip_to_newest() noexcept { at_.position = at_.limit; }
    /// To the first entry with a greater sequence, whenever it comes. Gives `nothing_yet` where that is the end, or
    /// what is wrong.
    [[nodiscard]] core::step skip_after(std::uint64_t sequence) noexcept;
    /// To an offset where an entry with a right CRC begins, or the end of what the horizon shows. False: none does.
    [[nodiscard]] bool skip_to(std::uint64_t offset) noexcept;

private:
    [[nodiscard]] core::step judge(format::entry_fault fault) noexcept;
    /// Errors: unsupported_format, corrupt.
    [[nodiscard]] result<void> check_features() const;
    [[nodiscard]] core::step not_ours() const noexcept;
    /// As [V7] in step.hpp.
    [[nodiscard]] bool still_ours() const noexcept {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return base::load_relaxed(*at_.state_word) == at_.state;
    }

    [[nodiscard]] std::uint64_t limit_of(std::uint64_t word) const noexcept {
        return persisted_ ? format::persisted_offset_of(word) : word;
    }
    /// Remembers the entry's epoch where the CRC is right.
    [[nodiscard]] bool crc_is_right(const std::byte* at, std::uint32_t payload_bytes, std::uint64_t meta,
                                    std::uint32_t crc, std::uint64_t offset) noexcept;

    void settle() noexcept { at_.way = distrusted_ ? detail::usual::none : ordinary_; }

    detail::step_state at_;
    detail::usual ordinary_;  // the way of a usual step, once there is no floor
    bool check_crc_;
    bool distrusted_ = false;
    bool persisted_;  // on the persisted horizon
    format::entry_fault fault_ = format::entry_fault::none;

    const core::stream_file* file_;
    const format::region_slot* slot_;
    const std::uint64_t* limit_word_;   // commit offset or persisted word
    const std::uint64_t* newest_word_;  // the sequence beside it
    std::uint64_t limit_seen_ = 0;
    std::uint64_t epoch_seen_ = 0;  // for which the features are known
    std::uint64_t begin_;
    std::uint64_t end_;
    std::uint64_t floor_ = 0;  // entries up to this sequence are passed over
    std::uint64_t start_;      // sequence of the last one that was, or that lies before the region's first entry
};

}  // namespace pmemstream
