#pragma once

#include <pmemstream/detail/entry_layout.hpp>
#include <pmemstream/detail/merge_step.hpp>
#include <pmemstream/detail/step.hpp>
#include <pmemstream/export.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

namespace pmemstream {

/// One entry, in place in the mapping: no copy was made. The bytes are stable as long as the region's generation
/// lives, which valid() tells; the object must not outlive every cursor and reader of its stream.
class entry {
public:
    /// Entries come from cursors; this is theirs.
    entry(const detail::generation_view& view, const std::byte* payload, std::uint32_t payload_bytes,
          pmemstream::sequence sequence) noexcept
        : payload_(payload), view_(&view), sequence_(sequence), payload_bytes_(payload_bytes) {}

    [[nodiscard]] pmemstream::sequence sequence() const noexcept { return sequence_; }
    /// Of the entry's header in the file.
    [[nodiscard]] pmemstream::offset offset() const noexcept {
        return pmemstream::offset{static_cast<std::uint64_t>(payload_ - view_->file) - detail::entry_header_bytes};
    }
    [[nodiscard]] std::span<const std::byte> payload() const noexcept { return {payload_, payload_bytes_}; }
    /// The region that holds it.
    [[nodiscard]] region where() const noexcept { return {view_->region_index, view_->state >> 8}; }
    /// Where the next entry of the region begins.
    [[nodiscard]] pmemstream::offset end() const noexcept {
        return pmemstream::offset{to_uint(offset()) + detail::entry_bytes(payload_bytes_)};
    }

    /// After using the payload: true if it was what the writer committed all the while.
    [[nodiscard]] bool valid() const noexcept {
        // [V6] acquire; the payload was read before the state word. Pairs with [V5] in region_allocation.cpp.
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return __atomic_load_n(view_->state_word, __ATOMIC_RELAXED) == view_->state &&
               __atomic_load_n(view_->faulted, __ATOMIC_RELAXED) == 0;
    }

    /// Copies the payload out and then checks it. Errors: region_gone, io.
    [[nodiscard]] PMEMSTREAM_API result<void> read_into(std::vector<std::byte>& to) const;

private:
    const std::byte* payload_;
    const detail::generation_view* view_;
    pmemstream::sequence sequence_;
    std::uint32_t payload_bytes_;
};

namespace detail {
/// Made in place: an entry that is copied costs as much as the step.
[[nodiscard, gnu::always_inline]] inline result<std::optional<entry>> shown(const stepped& over) noexcept {
    return result<std::optional<entry>>(tl::in_place, std::in_place, *over.view, over.payload, over.payload_bytes,
                                        pmemstream::sequence{over.sequence});
}
}  // namespace detail

/// Where a cursor begins.
struct from_oldest {};
struct from_newest {};  ///< behind everything committed so far
struct after {          ///< at the first entry with a greater sequence, there already or yet to come
    pmemstream::sequence sequence;
};
struct at_offset {  ///< at the entry whose header is there (or at the commit offset): one region only
    pmemstream::offset offset;
};
using start_at = std::variant<from_oldest, from_newest, after, at_offset>;

struct cursor_options {
    start_at start = from_oldest{};
    /// "Committed", here and in what the cursor's functions say of entries, is `persisted` on that horizon.
    pmemstream::horizon horizon = pmemstream::horizon::committed;
    /// Verify the CRC of every entry before it is shown. Damage below the commit offset is then `corrupt`; without, a
    /// damaged header is still noticed where it makes no sense.
    bool check_crc = false;
    /// How long wait() spins before it sleeps. 0: sleep at once; spin_for_ever: never sleep.
    std::chrono::nanoseconds spin{20'000};
    /// A writer at full speed is slowed down by whoever looks after each of its entries: every look takes a line of the
    /// memory from its processor. So where wait() has found something there at one look after another, it pauses before
    /// the next, for up to this long (at most 1 ms), and then has many to show. Under such load an entry is seen so much
    /// later, and by a reader that is hardly faster than the writer a few pauses later; an entry that was waited for is
    /// shown at once, and next() never pauses. 0, or `spin` of 0: wait() does not either.
    std::chrono::nanoseconds coalesce{1'500};
    /// The longest single sleep before the cursor looks again by itself, at most (and by default) 1 s. sleep_for_ever
    /// relies on the doorbell alone, so that it sleeps on when the file is truncated and nobody rings.
    std::chrono::nanoseconds sleep_max{1'000'000'000};
    /// Take a slot in the control file where possible, so that operators see the cursor and its region is pinned.
    bool registered = true;
};

inline constexpr std::chrono::nanoseconds spin_for_ever = std::chrono::nanoseconds::max();
inline constexpr std::chrono::nanoseconds sleep_for_ever = std::chrono::nanoseconds::max();
inline constexpr std::chrono::nanoseconds wait_for_ever = std::chrono::nanoseconds::max();

/// How far behind the end of its horizon a cursor is.
struct cursor_lag {
    std::uint64_t sequences = 0;  ///< newest committed (of the region, or the stream) less last shown
    std::uint64_t bytes = 0;      ///< headers and padding included
};

/// Makes `for (const entry& e : cursor)` work over what next() gives: it ends when nothing more is committed now, or
/// at an error, which the cursor's status() then holds.
template <class Cursor>
class entry_iterator {
public:
    using value_type = entry;
    using difference_type = std::ptrdiff_t;
    using reference = const entry&;
    using pointer = const entry*;
    using iterator_category = std::input_iterator_tag;

    entry_iterator() noexcept = default;
    explicit entry_iterator(Cursor* from) noexcept : from_(from) { ++*this; }
    reference operator*() const noexcept { return *current_; }
    pointer operator->() const noexcept { return &*current_; }
    entry_iterator& operator++() noexcept {
        if (const detail::stepped got = from_->take_step(); got.payload != nullptr) [[likely]]
            current_.emplace(*got.view, got.payload, got.payload_bytes, pmemstream::sequence{got.sequence});
        else
            current_ = from_->next_or_status();
        return *this;
    }
    void operator++(int) noexcept { ++*this; }
    friend bool operator==(const entry_iterator& it, std::default_sentinel_t) noexcept {
        return !it.current_.has_value();
    }

private:
    Cursor* from_ = nullptr;
    std::optional<entry> current_;
};

/// A position in one region. Move-only; one thread's at a time; outlives its reader.
class PMEMSTREAM_API cursor {
public:
    cursor(cursor&&) noexcept;
    cursor& operator=(cursor&&) noexcept;
    ~cursor();

    /// The next committed entry, or nothing when there is none yet. No system call, no allocation, but for registering
    /// once a writer has made a control file, and, on overlayfs, for a look at the path every now and then. Errors (the
    /// position stays): region_gone, corrupt (with region and offset), io (the mapping faulted; or, on overlayfs, the
    /// file was copied up or replaced and must be opened again).
    [[nodiscard]] result<std::optional<entry>> next() noexcept;
    /// Waits up to `timeout` for one: spins, then sleeps. Nothing after the timeout. Errors as next(); io also where the
    /// file was truncated and nothing of what is left faults: its size is looked at now and then while nothing comes.
    [[nodiscard]] result<std::optional<entry>> wait(std::chrono::nanoseconds timeout = wait_for_ever) noexcept;

    [[nodiscard]] entry_iterator<cursor> begin() noexcept;
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
    /// Why the last range-for ended: nothing more (a value), or an error.
    [[nodiscard]] const result<void>& status() const noexcept;

    [[nodiscard]] region where() const noexcept;
    /// Where the next entry will begin; resume there with at_offset.
    [[nodiscard]] pmemstream::offset position() const noexcept;
    /// Of the last entry shown, or none.
    [[nodiscard]] pmemstream::sequence last() const noexcept;
    [[nodiscard]] cursor_lag lag() const noexcept;
    /// True while it holds a slot in the control file.
    [[nodiscard]] bool registered() const noexcept;

private:
    friend class reader;
    friend class entry_iterator<cursor>;
    struct PMEMSTREAM_HIDDEN impl;
    explicit cursor(std::unique_ptr<impl> state) noexcept;
    /// The usual case of next(): nothing, where it needs a closer look.
    [[nodiscard]] detail::stepped take_step() noexcept;
    [[nodiscard]] result<std::optional<entry>> next_any() noexcept;
    [[nodiscard]] result<std::optional<entry>> wait_any(std::chrono::nanoseconds timeout) noexcept;
    /// next_any() for the iterator: errors go to status().
    [[nodiscard]] std::optional<entry> next_or_status() noexcept;

    detail::step_state* at_;  // impl_ keeps it
    std::unique_ptr<impl> impl_;
};

[[gnu::always_inline]] inline detail::stepped cursor::take_step() noexcept {
    detail::step_state& at = *at_;
    const detail::stepped got = at.way == detail::usual::plain ? detail::plain_step(at) : detail::chained_step(at);
    if (at.shown_up_to != nullptr && got.payload != nullptr)
        __atomic_store_n(at.shown_up_to, at.position, __ATOMIC_RELAXED);
    return got;
}

[[gnu::always_inline]] inline result<std::optional<entry>> cursor::next() noexcept {
    const detail::stepped got = take_step();
    return got.payload != nullptr ? detail::shown(got) : next_any();
}

[[gnu::always_inline]] inline result<std::optional<entry>> cursor::wait(std::chrono::nanoseconds timeout) noexcept {
    const detail::stepped got = take_step();
    return got.payload != nullptr ? detail::shown(got) : wait_any(timeout);
}

/// A position in the whole stream: entries of all regions in sequence order. Regions allocated later join by
/// themselves. When a region is freed under it, one call answers region_gone and the next goes on with the others. An
/// entry takes as many steps however many regions there are, though more of them fit the caches less; only a look for
/// further entries asks each region.
/// On the persisted horizon it shows what the stream's persisted sequence covers. Where entries that were appended at
/// committed, and that nothing has persisted yet, lie between others that were appended at persisted, those behind them
/// wait, although a cursor over their region alone shows them: until a policy or wait_persisted() has caught up.
class PMEMSTREAM_API merged_cursor {
public:
    merged_cursor(merged_cursor&&) noexcept;
    merged_cursor& operator=(merged_cursor&&) noexcept;
    ~merged_cursor();

    /// As cursor::next(), over the stream. Allocates only when a region joined.
    [[nodiscard]] result<std::optional<entry>> next() noexcept;
    [[nodiscard]] result<std::optional<entry>> wait(std::chrono::nanoseconds timeout = wait_for_ever) noexcept;

    [[nodiscard]] entry_iterator<merged_cursor> begin() noexcept;
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
    [[nodiscard]] const result<void>& status() const noexcept;

    /// Of the last entry shown; resume there with `after`.
    [[nodiscard]] pmemstream::sequence last() const noexcept;
    [[nodiscard]] cursor_lag lag() const noexcept;
    [[nodiscard]] bool registered() const noexcept;

private:
    friend class reader;
    friend class entry_iterator<merged_cursor>;
    struct PMEMSTREAM_HIDDEN impl;
    explicit merged_cursor(std::unique_ptr<impl> state) noexcept;
    [[nodiscard]] detail::stepped take_step() noexcept;
    [[nodiscard]] result<std::optional<entry>> next_any() noexcept;
    [[nodiscard]] result<std::optional<entry>> wait_any(std::chrono::nanoseconds timeout) noexcept;
    [[nodiscard]] std::optional<entry> next_or_status() noexcept;

    detail::merge_state* merge_;  // impl_ keeps it
    std::unique_ptr<impl> impl_;
};

[[gnu::always_inline]] inline detail::stepped merged_cursor::take_step() noexcept {
    return detail::merge_step(*merge_, detail::plain_step);
}

[[gnu::always_inline]] inline result<std::optional<entry>> merged_cursor::next() noexcept {
    const detail::stepped got = take_step();
    return got.payload != nullptr ? detail::shown(got) : next_any();
}

[[gnu::always_inline]] inline result<std::optional<entry>> merged_cursor::wait(
    std::chrono::nanoseconds timeout) noexcept {
    const detail::stepped got = take_step();
    return got.payload != nullptr ? detail::shown(got) : wait_any(timeout);
}

}  // namespace pmemstream
