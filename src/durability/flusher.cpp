#include "src/durability/flusher.hpp"

#include "ipc/futex.hpp"
#include "src/base/failure.hpp"
#include "src/base/fault_state.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace pmemstream::durability {

using base::load_acquire;
using base::load_relaxed;
using base::store_relaxed;
using base::store_release;
using format::persisted_offset_of;
using steady = std::chrono::steady_clock;

namespace {
/// A flush may be kept back for others for as long as a flush takes, but not because one once took for ever.
constexpr std::chrono::nanoseconds gather_max = std::chrono::milliseconds(10);
}  // namespace

flusher::flusher(medium::mapping& medium, format::shared_header& header, const std::uint32_t& fault_state) noexcept
    : medium_(medium), header_(header), fault_state_(fault_state), turns_(header.persist.sequence) {}

void flusher::use(std::vector<format::region_slot*> slots) {
    slots_ = std::move(slots);
    words_stale_.resize(slots_.size(), false);
    moved_.reserve(slots_.size());
    ranges_.reserve(slots_.size() + 1);
}

result<bool> flusher::wait(std::uint64_t upto, std::chrono::nanoseconds timeout) noexcept {
    timeout = std::max(timeout, std::chrono::nanoseconds::zero());
    const auto start = steady::now();
    const bool bounded = timeout < steady::time_point::max() - start;
    bool slept = false;
    const auto outcome = [&]() -> result<bool> {
        for (;;) {
            if (load_acquire(header_.persist.sequence) >= upto)
                return true;
            if (failed_.load(std::memory_order_acquire))
                return tl::unexpected(*failure());
            const auto rest = bounded ? timeout - (steady::now() - start) : std::chrono::nanoseconds::max();
            if (slept && rest <= std::chrono::nanoseconds::zero())
                return false;
            slept =
                !turns_.begin_or_sleep(upto, {rest, std::min(round_took_.load(std::memory_order_relaxed), gather_max)});
            if (slept)
                continue;
            const auto begun = steady::now();
            auto done = round();
            round_took_.store(steady::now() - begun, std::memory_order_relaxed);
            turns_.end();
            if (!done)
                return tl::unexpected(std::move(done.error()));
        }
    }();
    if (slept)
        turns_.leave();
    return outcome;
}

/// What is committed becomes persisted; the words that say so are left to persist_words().
result<void> flusher::round() noexcept {
    if (auto fine = check_usable(); !fine)
        return fine;
    // Read before the regions' commit offsets: whoever sees this sequence finds every entry up to it before those.
    const std::uint64_t committed = load_acquire(header_.commit.sequence);
    turns_.will_serve(committed);
    moved_.clear();
    ranges_.clear();
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        const auto& slot = *slots_[i];
        if (format::state_of(load_acquire(slot.cold.state)) != format::slot_state::live)
            continue;
        const auto region = look_at(i, slot);
        const std::uint64_t persisted = persisted_offset_of(load_relaxed(slot.persist.persisted));
        if (region.offset == persisted)
            continue;
        moved_.push_back(region);
        ranges_.push_back({persisted, region.offset - persisted});
    }
    if (doubts_)
        if (auto fine = checked(store_again()); !fine)
            return fine;
    // [P9] Entries are durable before the persisted offset says so. Pairs with [P10] in judgement.cpp.
    //      Without it: after power loss the scan begins behind torn entries, which then pass for rot.
    if (!base::mutated(base::mutant::entries_not_durable))
        if (auto done = checked(make_durable(medium::elsewhere::clean)); !done)
            return done;
    if (doubts_)
        if (auto fine = checked(check_written()); !fine)
            return fine;
    // What the fault guard put in the place of a lost page was synced to nowhere.
    if (auto fine = check_usable(); !fine)
        return fine;
    if (base::mutated(base::mutant::flags_before_persist))
        ring_for_moved();
    base::die_at(base::kill_point::flush_synced);
    if (base::mutated(base::mutant::persisted_sequence_first))
        store_release(header_.persist.sequence, committed);
    for (const auto& region : moved_)
        store_words(region);
    // [V8] release, behind the regions' persisted offsets. Pairs with the acquire [V4] in merged_cursor.cpp.
    //      Without it: a merged cursor on the persisted horizon passes over an entry for ever.
    store_release(header_.persist.sequence, std::max(committed, load_relaxed(header_.persist.sequence)));
    if (!base::mutated(base::mutant::flags_before_persist))
        ring_for_moved();
    return persist_words_if_due();
}

void flusher::doubt(std::vector<std::uint64_t> earlier, entry_check check) {
    doubts_ = true;
    earlier_ = std::move(earlier);
    check_earlier_ = std::move(check);
}

result<void> flusher::store_again() noexcept {
    for (std::size_t i = 0; i < moved_.size(); ++i) {
        const auto& range = ranges_[i];
        // Before they are read: a clean page may leave the memory in between, and would be stored as it once was.
        if (!base::mutated(base::mutant::clean_pages_believed))
            medium_.touch(range.offset, range.bytes);
        if (auto fine = check_usable(); !fine)
            return fine;
        const std::uint64_t end = moved_[i].index < earlier_.size() ? earlier_[moved_[i].index] : 0;
        if (end > range.offset)
            if (auto fine = check_earlier_(moved_[i].index, {range.offset, std::min(range.bytes, end - range.offset)});
                !fine)
                return fine;
    }
    return {};
}

result<void> flusher::check_written() const noexcept {
    for (const auto& range : ranges_)
        if (auto fine = medium_.check_written(range.offset, range.bytes); !fine)
            return fine;
    return {};
}

void flusher::ring_for_moved() noexcept {
    if (bell_ == nullptr)
        return;
    for (const auto& region : moved_)
        bell_->ring_persisted(region.index, slots_[region.index]->persist.wake, header_.wake.persisted);
    // The stream's sequence moves without a region where the newest entries were freed.
    if (moved_.empty())
        bell_->ring_persisted(ipc::region_doors, header_.wake.persisted, header_.wake.persisted);
}

/// Looked at by the one whose turn it is: a round that failed just before must not be followed by one that seems to succeed.
result<void> flusher::check_usable() const noexcept {
    if (failed_.load(std::memory_order_acquire))
        return tl::unexpected(*failure());
    if ((base::fault_state::load(fault_state_) & ~base::fault_state::closed) != 0)
        return base::failure(errc::io,
                             "part of the mapping is lost (the file was truncated, or the medium cannot read "
                             "it), or this is a forked child: nothing is persisted. What can be read can be "
                             "salvaged to another file");
    return {};
}

result<void> flusher::make_durable(medium::elsewhere rest) noexcept {
    for (const auto& range : ranges_)
        bytes_since_words_ += range.bytes;
    return medium_.persist(ranges_, rest);
}

/// The mark is loaded before the offset that covers it.
flusher::moved_region flusher::look_at(std::uint32_t index, const format::region_slot& slot) noexcept {
    const std::uint64_t mark = load_acquire(slot.commit.mark_offset);
    const std::uint64_t offset = load_acquire(slot.commit.commit_offset);
    return {index, offset, load_relaxed(slot.commit.sequence), mark};
}

void flusher::store_words(const moved_region& region) noexcept {
    auto& line = slots_[region.index]->persist;
    store_relaxed(line.sequence, region.sequence);
    base::die_at(base::kill_point::between_persists);
    // [V9] release. Pairs with the acquire [V2] in entry_walk.cpp: as [V1], for the persisted horizon.
    store_release(line.persisted, format::persisted_word(region.offset, epoch_));
    if (load_relaxed(line.mark_offset) != region.mark_offset)
        store_release(line.mark_offset, region.mark_offset);
    words_stale_[region.index] = true;
    any_words_stale_ = true;
}

bool flusher::all_is_persisted() const noexcept {
    return std::all_of(slots_.begin(), slots_.end(), [](const format::region_slot* slot) {
        return format::state_of(load_acquire(slot->cold.state)) != format::slot_state::live ||
               load_acquire(slot->commit.commit_offset) == persisted_offset_of(load_relaxed(slot->persist.persisted));
    });
}

result<void> flusher::persist_words_if_due() noexcept {
    const bool due = bytes_since_words_ >= words_bytes_max || words_put_off_.load(std::memory_order_relaxed);
    return due ? persist_words() : result<void>();
}

result<void> flusher::persist_words() noexcept {
    if (!any_words_stale_)
        return {};
    // The slots' lines and the header, which lies before them all; neighbours in one piece.
    ranges_.clear();
    const auto offset_of = [this](const void* at) {
        return static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - medium_.data());
    };
    const std::uint64_t sequence = load_acquire(header_.commit.sequence);
    ranges_.push_back({offset_of(&header_), sizeof header_});
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        if (!words_stale_[i])
            continue;
        const medium::mapping::range slot{offset_of(slots_[i]), sizeof(format::region_slot)};
        auto& last = ranges_.back();
        if (slot.offset >= last.offset && slot.offset - last.offset <= format::page_bytes)
            last.bytes = std::max(last.bytes, slot.offset + slot.bytes - last.offset);
        else
            ranges_.push_back(slot);
    }
    if (auto done = checked(make_durable(medium::elsewhere::dirty)); !done)
        return done;
    std::fill(words_stale_.begin(), words_stale_.end(), false);
    any_words_stale_ = false;
    bytes_since_words_ = 0;
    words_put_off_.store(false, std::memory_order_relaxed);
    durable_sequence_ = std::max(durable_sequence_, sequence);
    return {};
}

result<void> flusher::persist_region(std::uint32_t index, medium::byte_range durable) noexcept {
    turns_.begin();
    const auto done = [&]() -> result<void> {
        if (auto fine = check_usable(); !fine)
            return fine;
        const auto& slot = *slots_[index];
        const std::uint64_t committed = load_acquire(header_.commit.sequence);
        const auto region = look_at(index, slot);
        const std::uint64_t persisted = persisted_offset_of(load_relaxed(slot.persist.persisted));
        // As in a round ([P9]), for one region. One fence: the words ride on a later one.
        if (!base::mutated(base::mutant::entries_not_durable)) {
            const std::uint64_t durable_end = durable.offset + durable.bytes;
            // A background round may have gone over it meanwhile.
            if (durable.bytes == 0 || persisted > durable.offset || durable_end > region.offset) {
                medium_.flush(persisted, region.offset - persisted);
            } else {
                // [P22] What lies before and behind the lines that are durable already is flushed. Pairs with [P21] in
                //       append.cpp. Without it: the last bytes of a large payload are torn, and their entry is corrupt.
                medium_.flush(persisted, durable.offset - persisted);
                if (!base::mutated(base::mutant::tail_taken_for_durable))
                    medium_.flush(durable_end, region.offset - durable_end);
            }
            medium_.drain();
        }
        if (auto fine = check_usable(); !fine)
            return fine;
        bytes_since_words_ += region.offset - persisted;
        store_words(region);
        // Mostly this region's last entry was the only one that was not persisted: then its sequence is the stream's.
        const bool was_last = region.sequence == committed && load_relaxed(header_.persist.sequence) + 1 == committed;
        if (was_last || all_is_persisted())
            store_release(header_.persist.sequence, committed);
        if (bell_ != nullptr)
            bell_->ring_persisted(index, slots_[index]->persist.wake, header_.wake.persisted);
        return persist_words_if_due();
    }();
    turns_.end();
    return done;
}

result<void> flusher::persist_everything() noexcept {
    if (auto done = round(); !done)
        return done;
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        const auto& slot = *slots_[i];
        if (format::state_of(load_acquire(slot.cold.state)) == format::slot_state::live)
            store_words({i, persisted_offset_of(load_relaxed(slot.persist.persisted)),
                         load_relaxed(slot.commit.sequence), load_relaxed(slot.persist.mark_offset)});
    }
    any_words_stale_ = true;  // the header's, even where there is no region
    return persist_words();
}

void flusher::maintain() noexcept {
    if (!turns_.try_begin()) {
        words_put_off_.store(true, std::memory_order_relaxed);  // to the one whose turn it is, or comes next
        return;
    }
    if (check_usable())
        (void)persist_words();
    turns_.end();
}

result<void> flusher::persist_sequence() noexcept {
    if (failed_.load(std::memory_order_acquire))
        return tl::unexpected(*failure());
    if (durable_sequence_ >= load_relaxed(header_.commit.sequence) || base::mutated(base::mutant::sequence_not_durable))
        return {};
    any_words_stale_ = true;
    return persist_words();
}

result<void> flusher::checked(result<void> done) noexcept {
    if (!done && (base::fault_state::load(fault_state_) & base::fault_state::faulted) == 0)
        fail(done.error());
    return done;
}

void flusher::fail(const error& why) noexcept {
    {
        const std::lock_guard lock(failure_mutex_);
        if (!failure_)
            failure_ = why;
    }
    // After a failed flush the medium's copy is unknown although the memory looks right, and a later flush that succeeds
    // proves nothing: the kernel may have called the pages clean. So the next writer must not believe commit offsets.
    header_.identity.medium_flags |= format::medium_error_flag;
    failed_.store(true, std::memory_order_release);
    (void)medium_.persist(format::header_offset, sizeof header_);
}

std::optional<error> flusher::failure() const {
    const std::lock_guard lock(failure_mutex_);
    return failure_;
}

}  // namespace pmemstream::durability
