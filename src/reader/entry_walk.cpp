#include "src/reader/entry_walk.hpp"

#include "src/base/checked.hpp"
#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/features.hpp"
#include "src/stream/region_life.hpp"
#include "src/stream/region_table.hpp"

#include <pmemstream/detail/kill_point.hpp>

namespace pmemstream {

using base::load_acquire;
using base::load_relaxed;
using core::step;
using format::entry_fault;

entry_walk::entry_walk(const core::stream_file& file, const format::region_slot& slot,
                       const detail::generation_view& view, const format::slot_cold& cold, horizon horizon,
                       bool check_crc) noexcept
    : ordinary_(!check_crc                       ? detail::usual::plain
                : base::crc32c_has_instruction() ? detail::usual::chained
                                                 : detail::usual::checked),
      check_crc_(check_crc),
      persisted_(horizon == horizon::persisted),
      file_(&file),
      slot_(&slot),
      limit_word_(persisted_ ? &slot.persist.persisted : &slot.commit.commit_offset),
      newest_word_(persisted_ ? &slot.persist.sequence : &slot.commit.sequence),
      begin_(cold.extent_offset + sizeof(format::extent_header) + core::head_entry_bytes(file, cold)),
      end_(cold.extent_offset + cold.extent_bytes),
      start_(cold.first_sequence == 0 ? 0 : cold.first_sequence - 1) {
    at_.file = file.bytes_at(0);
    at_.position = at_.limit = begin_;
    at_.last = start_;
    at_.state_word = &slot.cold.state;
    at_.state = cold.state;
    at_.view = &view;
    at_.crc_seed = format::entry_crc_seed(file.superblock().uuid, format::generation_of(cold.state));
    at_.way = ordinary_;
}

step entry_walk::refresh() noexcept {
    base::die_at(base::kill_point::cursor_looks);
    // [V2] acquire. Pairs with the release [V1] in append.hpp and [V9] in flusher.cpp, and the fence [V10] in append.cpp.
    limit_seen_ = load_acquire(*limit_word_);
    const std::uint64_t limit = limit_of(limit_seen_);
    // The offset belongs to our generation if the state word still does.
    if (load_acquire(slot_->cold.state) != at_.state)
        return not_ours();
    if (limit < at_.position || limit > end_ || !base::is_aligned(limit, 8)) {
        fault_ = entry_fault::beyond_end;
        return file_->is_lost() ? step::faulted : step::damaged;
    }
    // [V12] The epoch is loaded behind the limit: a writer that made entries up to there visible has raised the features
    //       that they need before it stored its epoch. Pairs with [V11] in opening.cpp. Without it: a reader that was
    //       there before a newer program opened the stream takes its entries for what they are not.
    if (const std::uint64_t epoch = load_acquire(file_->header().identity.epoch);
        epoch != epoch_seen_ && !base::mutated(base::mutant::features_not_looked_at_again)) {
        if (!check_features())
            return file_->is_lost() ? step::faulted : step::unsupported;
        epoch_seen_ = epoch;
    }
    at_.limit = limit;
    if (at_.position != at_.limit)
        return step::entry;
    // More of the file may be lost than the page that says so.
    return file_->is_lost() ? step::faulted : step::nothing_yet;
}

step entry_walk::not_ours() const noexcept {
    // Zeros that took the place of a lost mapping name no generation either.
    return file_->is_lost() ? step::faulted : step::gone;
}

step entry_walk::judge(entry_fault fault) noexcept {
    // What looks damaged may be the bytes of a later use of the blocks.
    if (!still_ours())
        return not_ours();
    if (file_->is_lost())
        return step::faulted;
    fault_ = fault;
    return fault == entry_fault::unsupported ? step::unsupported : step::damaged;
}

result<void> entry_walk::check_features() const {
    const auto features = format::read_features(file_->header().features, file_->name());
    if (!features)
        return tl::unexpected(features.error());
    return format::check_features(*features, false, file_->name());
}

step entry_walk::refuse_shown() noexcept {
    at_.position = to_uint(shown().offset());
    return judge(entry_fault::sequence_order);
}

step entry_walk::next() noexcept {
    for (;;) {
        format::entry_header early{};
        if (base::mutated(base::mutant::entry_before_offset) && end_ - at_.position >= sizeof early)
            early = *reinterpret_cast<const format::entry_header*>(at_.file + at_.position);
        if (at_.position == at_.limit || distrusted_) {
            if (const step got = refresh(); got != step::entry)
                return got;
        }
        const std::uint64_t room = at_.limit - at_.position;
        if (room < sizeof(format::entry_header)) [[unlikely]]
            return judge(entry_fault::beyond_end);
        const std::byte* const at = at_.file + at_.position;
        const auto& header = *reinterpret_cast<const format::entry_header*>(at);
        bool ours_early = false;
        if (base::mutated(base::mutant::validity_before_header)) {
            ours_early = still_ours();
            base::die_at(base::kill_point::header_read);
        }
        const bool too_early = base::mutated(base::mutant::entry_before_offset);
        const std::uint32_t payload_bytes = too_early ? early.payload_bytes : load_relaxed(header.payload_bytes);
        const std::uint64_t meta = too_early ? early.meta : load_relaxed(header.meta);
        base::die_at(base::kill_point::header_read);
        if (const auto fault = format::check_header(payload_bytes, meta, room, at_.last); fault != entry_fault::none)
            [[unlikely]] {
            const bool verifies = fault == entry_fault::reserved_bits &&
                                  crc_is_right(at, payload_bytes, meta, load_relaxed(header.crc), at_.position);
            return judge(format::fault_with_crc(fault, verifies));
        }
        if (check_crc_ && !crc_is_right(at, payload_bytes, meta, load_relaxed(header.crc), at_.position)) [[unlikely]]
            return judge(entry_fault::crc);
        if (!ours_early && !still_ours()) [[unlikely]]
            return not_ours();
        if (format::entry_meta::is_system(meta)) [[unlikely]] {
            at_.position += format::entry_bytes(payload_bytes);
            continue;
        }
        at_.position += format::entry_bytes(payload_bytes);
        at_.last = format::entry_meta::sequence(meta);
        if (at_.last <= floor_) {
            start_ = at_.last;
            continue;
        }
        at_.payload = at + sizeof(format::entry_header);
        at_.payload_bytes = payload_bytes;
        floor_ = 0;
        settle();
        return step::entry;
    }
}

bool entry_walk::crc_is_right(const std::byte* at, std::uint32_t payload_bytes, std::uint64_t meta, std::uint32_t crc,
                              std::uint64_t offset) noexcept {
    const std::uint64_t epoch = format::matching_epoch(
        {payload_bytes, crc, meta}, format::payload_crc_state(at, payload_bytes, meta, at_.crc_seed), offset,
        format::epochs_of(meta, 0, file_->newest_possible_epoch()));
    if (epoch == 0)
        return false;
    at_.epoch_bits = format::entry_meta::epoch_bits(epoch);
    at_.crc_of_epoch = format::crc_of_epoch(epoch);
    return true;
}

step entry_walk::skip_after(std::uint64_t sequence) noexcept {
    floor_ = sequence;
    at_.way = detail::usual::none;
    if (const step got = refresh(); got != step::entry)
        return got;
    // The writer stores the sequence before the offset: loaded after it, it covers all that lies before the limit.
    if (load_relaxed(*newest_word_) <= sequence)
        skip_to_newest();
    return step::nothing_yet;
}

bool entry_walk::skip_to(std::uint64_t offset) noexcept {
    if (offset == at_.limit) {
        at_.position = offset;
        return true;
    }
    if (offset < begin_ || offset > at_.limit || !base::is_aligned(offset, 8) ||
        at_.limit - offset < sizeof(format::entry_header))
        return false;
    const std::byte* const at = at_.file + offset;
    const auto& header = *reinterpret_cast<const format::entry_header*>(at);
    const std::uint32_t payload_bytes = load_relaxed(header.payload_bytes);
    const std::uint64_t meta = load_relaxed(header.meta);
    // Any payload may look like a header; one whose CRC fits the region, its generation and this very offset is one.
    if (format::check_header(payload_bytes, meta, at_.limit - offset, 0) != entry_fault::none ||
        !crc_is_right(at, payload_bytes, meta, load_relaxed(header.crc), offset))
        return false;
    at_.position = offset;
    return true;
}

tl::unexpected<error> entry_walk::failure(step why) const {
    switch (why) {
        case step::gone:
            return base::failure(errc::region_gone, "{}: region slot {}, generation {}: freed or cleared",
                                 file_->name(), at_.view->region_index, format::generation_of(at_.state));
        case step::faulted:
            return base::failure(
                errc::io,
                "{}: {}: part of the mapping is lost near offset {} (the file was truncated, or the medium failed)",
                file_->name(), core::region_text(slot_->cold, at_.view->region_index), at_.position);
        case step::unsupported:
            if (fault_ != entry_fault::unsupported)  // a feature, which tells more
                if (auto fine = check_features(); !fine)
                    return tl::unexpected(std::move(fine.error()));
            return base::failure(
                errc::unsupported_format,
                "{}: {}: the entry at offset {} is of a later version of the format: a newer library reads it",
                file_->name(), core::region_text(slot_->cold, at_.view->region_index), at_.position);
        default:
            return base::failure(errc::corrupt, "{}: {}: damaged at offset {}: {}; committed up to {}", file_->name(),
                                 core::region_text(slot_->cold, at_.view->region_index), at_.position,
                                 format::to_string(fault_), load_relaxed(slot_->commit.commit_offset));
    }
}

}  // namespace pmemstream
