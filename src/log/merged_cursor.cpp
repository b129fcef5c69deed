#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/log/reader_impl.hpp"
#include "src/log/registration.hpp"
#include "src/log/timestamp_ring.hpp"
#include "src/log/waiting.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace pmemstream {

using log::step;

// Every region's walk holds its next entry ready, its head, and a ring tells which head has a timestamp. A head may be shown
// once the stream's committed timestamp, read before the regions' commit offsets, has reached it: then no smaller one can
// still appear.
struct merged_cursor::impl {
    struct source {
        entry_walk walk;
        bool has_head;  // else nothing is committed behind its last entry yet
    };

    std::vector<source> sources;
    log::timestamp_ring ring;      // of the heads, by index in `sources`
    std::uint64_t show_up_to = 0;  // reached; 0 while something is pending
    std::uint64_t last = 0;
    /// Of a source whose head has another's timestamp: next_any() sees to it.
    std::uint32_t refused = log::timestamp_ring::nobody;
    const std::uint32_t* faulted;  // nonzero once part of the mapping is lost
    log::registration registration;
    std::shared_ptr<reader::impl> of;
    cursor_options options;
    log::region_table table;            // this cursor's own, so that a look needs no lock and no copy
    std::vector<std::uint64_t> joined;  // by slot index: the state word under which it joined
    std::uint64_t reached = 0;          // all entries up to this timestamp are heads, or shown, or behind a head
    std::vector<error> pending;  // to be told by the next calls, in place of entries; the last one stays if damaged
    bool damaged = false;
    result<void> status;

    impl(std::shared_ptr<reader::impl> reader, const cursor_options& how)
        : faulted(&reader->file->medium().trouble()),
          registration(how.registered, how.horizon, *reader->control, reader->file->header()),
          of(std::move(reader)),
          options(how) {}

    void keep_registered() { registration.renew(ipc::all_regions, 0, last); }

    void tell_later(const entry_walk& walk, step why) {
        if (!damaged)
            pending.push_back(walk.failure(why).value());
        damaged = damaged || why != step::gone;
        show_up_to = 0;
    }

    /// Another source may take its index, so the ring has to be gathered again.
    void remove(std::size_t index) noexcept {
        sources[index] = sources.back();
        sources.pop_back();
    }

    /// Fills the ring, which has nothing before `timestamp` to show.
    void gather(std::uint64_t timestamp) {
        ring.start_at(timestamp);
        for (std::size_t i = sources.size(); i-- > 0;) {
            auto& from = sources[i];
            if (!from.has_head || ring.put(from.walk.last(), static_cast<std::uint32_t>(i)))
                continue;
            tell_later(from.walk, from.walk.refuse_shown());
            remove(i);
            ring.start_at(timestamp);
            i = sources.size();
        }
    }

    /// After a step of that source's walk. One that is over is dropped, and why it is, kept.
    void put(std::size_t index, step got) {
        auto& from = sources[index];
        from.has_head = got == step::entry;
        if (got == step::entry) {
            const std::uint64_t head = from.walk.last();
            // Behind what was reached: only if a writer recovered more than the header of a lost machine had said.
            if (head < ring.next()) [[unlikely]] {
                gather(head);
                return;
            }
            if (ring.put(head, static_cast<std::uint32_t>(index))) [[likely]]
                return;
            got = from.walk.refuse_shown();
        }
        if (got == step::nothing_yet)
            return;
        tell_later(from.walk, got);
        remove(index);
        gather(ring.next());
    }

    /// Adds regions that were allocated since the last look to `sources`, but not to the ring.
    [[nodiscard]] result<void> find_regions(const start_at& start) {
        if (auto done = table.refresh(*of->file); !done)
            return done;
        joined.resize(table.slots(), 0);
        for (std::uint32_t i = 0; i < table.slots(); ++i) {
            const std::uint64_t state = base::load_acquire(table.slot(i).cold.state);
            if (state == joined[i] || state == 0)
                continue;
            auto cold = log::read_cold(*of->file, table.slot(i), i, true);
            if (!cold)
                return tl::unexpected(std::move(cold.error()));
            if (!*cold || (*cold)->state == joined[i])
                continue;
            if (auto checked = log::read_region(*of->file, table.slot(i), i, **cold); !checked)
                return tl::unexpected(std::move(checked.error()));
            entry_walk walk(*of->file, table.slot(i),
                            of->view(table.slot(i), region(i, format::generation_of((*cold)->state))), **cold,
                            options.horizon, options.check_crc);
            if (of->unrecovered)
                walk.distrust();
            step got = step::nothing_yet;
            if (const auto* behind = std::get_if<after>(&start))
                got = walk.skip_after(to_uint(behind->timestamp));
            if (got == step::entry || got == step::nothing_yet)
                got = walk.next();
            joined[i] = (*cold)->state;
            if (got == step::entry || got == step::nothing_yet)
                sources.push_back({walk, got == step::entry});
            else
                tell_later(walk, got);
        }
        return {};
    }

    /// `start`: for those that are there when the cursor is made.
    [[nodiscard]] result<void> join_regions(const start_at& start) {
        const std::size_t before = sources.size();
        auto done = find_regions(start);
        if (sources.size() != before) {
            ring.resize(sources.size());
            std::uint64_t first = ring.next();
            for (const auto& from : sources)
                if (from.has_head)
                    first = std::min(first, from.walk.last());
            gather(first);
        }
        return done;
    }

    /// Reaches further and gathers what became visible. False: nothing did.
    [[nodiscard]] result<bool> look_further() {
        // [V4] acquire, and read before the regions. Pairs with the release [V3] in append.hpp and [V8] in flusher.cpp.
        const std::uint64_t committed = base::load_acquire(stream_timestamp());
        if (committed == reached)
            return false;
        if (auto done = join_regions(after{pmemstream::timestamp{last}}); !done)
            return tl::unexpected(std::move(done.error()));
        // From the last one down: where one is removed, one that was asked already takes its place.
        for (std::size_t i = sources.size(); i-- > 0;)
            if (!sources[i].has_head)
                put(i, sources[i].walk.next());
        base::die_at(base::kill_point::regions_read);
        reached =
            base::mutated(base::mutant::regions_before_timestamp) ? base::load_acquire(stream_timestamp()) : committed;
        show_up_to = pending.empty() ? reached : 0;
        return true;
    }

    [[nodiscard]] tl::unexpected<error> tell() {
        auto told = tl::unexpected(pending.front());
        if (!damaged || pending.size() > 1)
            pending.erase(pending.begin());
        show_up_to = pending.empty() ? reached : 0;
        return told;
    }

    [[nodiscard, gnu::noinline]] result<std::optional<entry>> lose_head(std::size_t index) {
        auto why = sources[index].walk.failure(of->file->is_lost() ? step::faulted : step::gone);
        remove(index);
        gather(ring.next());
        return why;
    }

    /// Shows the head of that source, which is the least of all. `Plain`: where next_plain() does; no call then stands
    /// between the first look at the head and the last, so that nothing has to be saved. Else show_any() begins again.
    template <bool Plain>
    [[nodiscard, gnu::always_inline]] result<std::optional<entry>> show(std::uint32_t index) {
        auto& walk = sources.data()[index].walk;
        if (!Plain && !walk.shown().valid())
            return lose_head(index);
        // In parts: an `entry` that is kept and then copied costs as much as all the rest.
        const detail::generation_view& view = walk.view();
        const std::byte* const payload = walk.payload();
        const std::uint32_t payload_bytes = walk.payload_bytes();
        const std::uint64_t now = walk.last();
        walk.prefetch();
        if constexpr (Plain) {
            // A step that finds its region alive has found the head valid, if nothing of the mapping is lost.
            if (base::load_relaxed(*faulted) != 0 || !walk.next_plain()) [[unlikely]]
                return show_any(index);
        }
        last = now;
        ring.pass_to(now + 1);
        if (!Plain && !walk.next_chained() && !walk.next_checked())
            put(index, walk.next());
        else if (!ring.put(walk.last(), index)) [[unlikely]] {
            refused = index;
            show_up_to = 0;
        }
        registration.lease().move_to(now);
        return result<std::optional<entry>>(tl::in_place, std::in_place, view, payload, payload_bytes, timestamp{now});
    }
    [[nodiscard, gnu::noinline]] result<std::optional<entry>> show_any(std::uint32_t index) noexcept {
        return show<false>(index);
    }

    [[nodiscard, gnu::always_inline]] result<std::optional<entry>> next() noexcept {
        const std::uint64_t expected = ring.next();
        const std::uint32_t from = ring.at(expected);
        if (expected > show_up_to || from == log::timestamp_ring::nobody) [[unlikely]]
            return next_any();
        return show<true>(from);
    }

    [[nodiscard, gnu::noinline]] result<std::optional<entry>> next_any() noexcept {
        if (refused != log::timestamp_ring::nobody) [[unlikely]]
            put(std::exchange(refused, log::timestamp_ring::nobody), step::entry);
        for (;;) {
            if (!pending.empty())
                return tell();
            if (ring.next() <= reached) {
                std::uint32_t from = ring.first();
                if (from == log::timestamp_ring::nobody && ring.beyond() <= reached) {
                    gather(ring.beyond());
                    continue;
                }
                if (from != log::timestamp_ring::nobody && sources[from].walk.last() <= reached)
                    return show_any(from);
                // So that a look at what has not moved since costs no search.
                ring.pass_to(reached + 1);
            }
            if (registration.due()) [[unlikely]]
                keep_registered();
            const auto further = of->file->ask([this] { return look_further(); });
            if (!further)
                return tl::unexpected(further.error());
            if (!*further) {
                if (of->copy_up && of->copy_up->happened()) [[unlikely]]
                    return of->copy_up->failure();
                return std::nullopt;
            }
        }
    }

    [[nodiscard]] ipc::watched_words watch() const noexcept {
        return {&stream_timestamp(), reached, &stream_timestamp(), reached};
    }

    /// Up to which everything in the stream is committed, or persisted.
    [[nodiscard]] const std::uint64_t& stream_timestamp() const noexcept {
        const auto& header = of->file->header();
        return options.horizon == horizon::persisted ? header.persist.timestamp : header.commit.timestamp;
    }
};

merged_cursor::merged_cursor(std::unique_ptr<impl> state) noexcept : impl_(std::move(state)) {}
merged_cursor::merged_cursor(merged_cursor&&) noexcept = default;
merged_cursor& merged_cursor::operator=(merged_cursor&&) noexcept = default;
merged_cursor::~merged_cursor() = default;

result<std::optional<entry>> merged_cursor::next() noexcept {
    return impl_->next();
}

result<std::optional<entry>> merged_cursor::wait(std::chrono::nanoseconds timeout) noexcept {
    auto& self = *impl_;
    const auto& wake = self.of->file->header().wake;
    const bool persisted = self.options.horizon == horizon::persisted;
    const log::waiting_place place{self.of->control.get(),
                                   persisted ? &wake.persisted : &wake.committed,
                                   0,
                                   self.options.horizon,
                                   &self.registration.lease(),
                                   self.of->file.get(),
                                   self.of->copy_up != nullptr};
    return log::wait_for([&self] { return self.next(); }, [&self] { return self.watch(); },
                         [&self] { self.keep_registered(); }, place, self.options, timeout);
}

std::optional<entry> merged_cursor::next_or_status() noexcept {
    auto got = impl_->next();
    if (got) {
        impl_->status = {};
        return *got;
    }
    impl_->status = tl::unexpected(std::move(got.error()));
    return std::nullopt;
}

const result<void>& merged_cursor::status() const noexcept {
    return impl_->status;
}

timestamp merged_cursor::last() const noexcept {
    return pmemstream::timestamp{impl_->last};
}

cursor_lag merged_cursor::lag() const noexcept {
    const auto& self = *impl_;
    const std::uint64_t newest = base::load_acquire(self.stream_timestamp());
    cursor_lag lag{newest - std::min(newest, self.last), 0};
    for (const auto& [walk, has_head] : self.sources) {
        const std::uint64_t committed = walk.limit_now();
        const std::uint64_t next = has_head ? to_uint(walk.shown().offset()) : walk.position();
        lag.bytes += committed - std::min(committed, next);
    }
    return lag;
}

bool merged_cursor::registered() const noexcept {
    return impl_->registration.held();
}

result<merged_cursor> reader::follow_all(const cursor_options& options) const {
    if (std::holds_alternative<at_offset>(options.start))
        return base::failure(errc::invalid_argument, "{}: a cursor over all regions has no offset to start at",
                             impl_->file->name());
    auto state = std::make_unique<merged_cursor::impl>(impl_, options);
    const std::uint64_t committed = base::load_acquire(state->stream_timestamp());
    // "Newest" is a timestamp, the same for every region: skipping each to its own end would show entry 103 without
    // 102.
    start_at start = options.start;
    if (std::holds_alternative<from_newest>(start))
        start = after{pmemstream::timestamp{committed}};
    if (const auto* behind = std::get_if<after>(&start))
        state->last = to_uint(behind->timestamp);
    state->ring.resize(0);
    state->ring.start_at(state->last + 1);
    if (auto done = impl_->file->ask([&] { return state->join_regions(start); }); !done)
        return tl::unexpected(std::move(done.error()));
    state->reached = committed;
    state->show_up_to = state->pending.empty() ? committed : 0;
    state->keep_registered();
    return merged_cursor(std::move(state));
}

}  // namespace pmemstream
