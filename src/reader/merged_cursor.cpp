#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/reader/reader_impl.hpp"
#include "src/reader/registration.hpp"
#include "src/reader/waiting.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace pmemstream {

using core::step;

// Every region's walk holds its next entry ready, its head, and a ring tells which head has a sequence. A head may be shown
// once the stream's committed sequence, read before the regions' commit offsets, has reached it: then no smaller one can
// still appear.
struct merged_cursor::impl {
    struct source {
        entry_walk walk;
        bool has_head;  // else nothing is committed behind its last entry yet
    };

    detail::merge_state hot;  // what show_up_to says is `reached`, or 0 while something is pending
    detail::sequence_ring& ring = hot.ring;
    std::vector<source> sources;
    core::registration registration;
    std::shared_ptr<reader::impl> of;
    cursor_options options;
    core::coalescing pace;
    core::region_table table;           // this cursor's own, so that a look needs no lock and no copy
    std::vector<std::uint64_t> joined;  // by slot index: the state word under which it joined
    std::uint64_t reached = 0;          // all entries up to this sequence are heads, or shown, or behind a head
    std::uint64_t reached_word = 0;     // the stream's word that said so
    std::vector<error> pending;  // to be told by the next calls, in place of entries; the last one stays if damaged
    bool damaged = false;
    result<void> status;

    impl(std::shared_ptr<reader::impl> reader, const cursor_options& how)
        : registration(how.registered, how.horizon, *reader->control, reader->file->header()),
          of(std::move(reader)),
          options(how),
          pace(how) {
        hot.faulted = &of->file->medium().fault_state();
    }

    void keep_registered() {
        registration.renew(ipc::all_regions, 0, hot.last);
        hot.shown_up_to = registration.lease().position_word();
    }

    /// Whose walk that is.
    [[nodiscard]] std::size_t index_of(const detail::step_state* at) const noexcept {
        const auto bytes = reinterpret_cast<const std::byte*>(at) - reinterpret_cast<const std::byte*>(sources.data());
        return static_cast<std::size_t>(bytes) / sizeof(source);
    }

    void tell_later(const entry_walk& walk, step why) {
        if (!damaged)
            pending.push_back(walk.failure(why).value());
        damaged = damaged || why != step::gone;
        hot.show_up_to = 0;
    }

    /// Another source may take its place, so the ring has to be gathered again.
    void remove(std::size_t index) noexcept {
        sources[index] = sources.back();
        sources.pop_back();
    }

    /// Fills the ring, which has nothing before `sequence` to show.
    void gather(std::uint64_t sequence) {
        ring.start_at(sequence);
        for (std::size_t i = sources.size(); i-- > 0;) {
            auto& from = sources[i];
            if (!from.has_head || ring.put(from.walk.last(), &from.walk.at()))
                continue;
            tell_later(from.walk, from.walk.refuse_shown());
            remove(i);
            ring.start_at(sequence);
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
            if (ring.put(head, &from.walk.at())) [[likely]]
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
            auto cold = core::read_cold(*of->file, table.slot(i), i, true);
            if (!cold)
                return tl::unexpected(std::move(cold.error()));
            if (!*cold || (*cold)->state == joined[i])
                continue;
            if (auto fine = format::check_slot_flags(**cold, i, of->file->name()); !fine)
                return tl::unexpected(std::move(fine.error()));
            if (auto checked = core::read_region(*of->file, table.slot(i), i, **cold); !checked)
                return tl::unexpected(std::move(checked.error()));
            entry_walk walk(*of->file, table.slot(i),
                            of->view(table.slot(i), region(i, format::generation_of((*cold)->state))), **cold,
                            options.horizon, options.check_crc);
            if (of->unrecovered)
                walk.distrust();
            step got = step::nothing_yet;
            if (const auto* behind = std::get_if<after>(&start))
                got = walk.skip_after(to_uint(behind->sequence));
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

    /// Nobody vouches for the word: beyond the greatest sequence there is none.
    void reach(std::uint64_t word) noexcept {
        reached_word = word;
        reached = std::min(word, format::sequence_max);
    }

    /// Reaches further and gathers what became visible. False: nothing did.
    [[nodiscard]] result<bool> look_further() {
        // [V4] acquire, and read before the regions. Pairs with the release [V3] in append.hpp and [V8] in flusher.cpp.
        const std::uint64_t committed = base::load_acquire(stream_sequence());
        if (committed == reached_word)
            return false;
        if (auto done = join_regions(after{pmemstream::sequence{hot.last}}); !done)
            return tl::unexpected(std::move(done.error()));
        // From the last one down: where one is removed, one that was asked already takes its place.
        for (std::size_t i = sources.size(); i-- > 0;)
            if (!sources[i].has_head)
                put(i, sources[i].walk.next());
        base::die_at(base::kill_point::regions_read);
        reach(base::mutated(base::mutant::regions_before_sequence) ? base::load_acquire(stream_sequence()) : committed);
        hot.show_up_to = pending.empty() ? reached : 0;
        return true;
    }

    [[nodiscard]] tl::unexpected<error> tell() {
        auto told = tl::unexpected(pending.front());
        if (!damaged || pending.size() > 1)
            pending.erase(pending.begin());
        hot.show_up_to = pending.empty() ? reached : 0;
        return told;
    }

    [[nodiscard, gnu::noinline]] result<std::optional<entry>> lose_head(std::size_t index) {
        auto why = sources[index].walk.failure(of->file->is_lost() ? step::faulted : step::gone);
        remove(index);
        gather(ring.next());
        return why;
    }

    /// Shows the head of that source, which is the least of all.
    [[nodiscard]] result<std::optional<entry>> show(std::size_t index) {
        auto& walk = sources[index].walk;
        const entry head = walk.shown();
        if (!head.valid())
            return lose_head(index);
        detail::prefetch_behind(walk.at().payload, walk.at().payload_bytes);
        hot.last = to_uint(head.sequence());
        ring.pass_to(hot.last + 1);
        put(index, walk.keep(walk.checked_step()) ? step::entry : walk.next());
        registration.lease().move_to(hot.last);
        return head;
    }

    /// What is beyond the inlined part of next().
    [[nodiscard]] result<std::optional<entry>> next() noexcept {
        if (hot.refused != nullptr) [[unlikely]]
            put(index_of(std::exchange(hot.refused, nullptr)), step::entry);
        if (const auto head = detail::merge_step(hot, detail::chained_step); head.payload != nullptr)
            return detail::shown(head);
        for (;;) {
            if (!pending.empty())
                return tell();
            if (ring.next() <= reached) {
                const detail::step_state* const from = ring.first();
                if (from == nullptr && ring.beyond() <= reached) {
                    gather(ring.beyond());
                    continue;
                }
                if (from != nullptr && from->last <= reached)
                    return show(index_of(from));
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
        return {&stream_sequence(), reached_word, &stream_sequence(), reached_word};
    }

    /// Of what is to be told before the next look at the stream's sequence; each entry is taken for 64 bytes.
    [[nodiscard]] std::uint64_t known_bytes() const noexcept {
        if (!pending.empty())
            return 1;
        return reached < ring.next() ? 0 : (reached - ring.next() + 1) * 64;
    }

    /// Up to which everything in the stream is committed, or persisted.
    [[nodiscard]] const std::uint64_t& stream_sequence() const noexcept {
        const auto& header = of->file->header();
        return options.horizon == horizon::persisted ? header.persist.sequence : header.commit.sequence;
    }
};

merged_cursor::merged_cursor(std::unique_ptr<impl> state) noexcept : merge_(&state->hot), impl_(std::move(state)) {}
merged_cursor::merged_cursor(merged_cursor&& other) noexcept
    : merge_(std::exchange(other.merge_, nullptr)), impl_(std::move(other.impl_)) {}
merged_cursor& merged_cursor::operator=(merged_cursor&& other) noexcept {
    impl_ = std::move(other.impl_);
    merge_ = impl_ != nullptr ? &impl_->hot : nullptr;
    if (this != &other)
        other.merge_ = nullptr;
    return *this;
}
merged_cursor::~merged_cursor() = default;

result<std::optional<entry>> merged_cursor::next_any() noexcept {
    return impl_->next();
}

result<std::optional<entry>> merged_cursor::wait_any(std::chrono::nanoseconds timeout) noexcept {
    auto& self = *impl_;
    const auto& wake = self.of->file->header().wake;
    const bool persisted = self.options.horizon == horizon::persisted;
    const core::waiting_place place{self.of->control.get(),
                                    persisted ? &wake.persisted : &wake.committed,
                                    0,
                                    self.options.horizon,
                                    &self.registration.lease(),
                                    self.of->file.get(),
                                    self.of->copy_up != nullptr};
    return core::wait_for([&self] { return self.next(); }, [&self] { return self.known_bytes(); },
                          [&self] { return self.watch(); }, [&self] { self.keep_registered(); }, place, self.options,
                          timeout, self.pace);
}

std::optional<entry> merged_cursor::next_or_status() noexcept {
    auto got = impl_->next();
    if (got)
        return *got;
    impl_->status = tl::unexpected(std::move(got.error()));
    return std::nullopt;
}

entry_iterator<merged_cursor> merged_cursor::begin() noexcept {
    impl_->status = {};
    return entry_iterator<merged_cursor>(this);
}

const result<void>& merged_cursor::status() const noexcept {
    return impl_->status;
}

sequence merged_cursor::last() const noexcept {
    return pmemstream::sequence{impl_->hot.last};
}

cursor_lag merged_cursor::lag() const noexcept {
    const auto& self = *impl_;
    const std::uint64_t newest = base::load_acquire(self.stream_sequence());
    cursor_lag lag{newest - std::min(newest, self.hot.last), 0};
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
    const std::uint64_t committed = base::load_acquire(state->stream_sequence());
    if (committed > format::sequence_max)
        return base::failure(errc::corrupt, "{}: the header (offset {}) gives an impossible sequence: {}",
                             impl_->file->name(), format::header_offset, committed);
    // "Newest" is a sequence, the same for every region: skipping each to its own end would show entry 103 without
    // 102.
    start_at start = options.start;
    if (std::holds_alternative<from_newest>(start))
        start = after{pmemstream::sequence{committed}};
    if (const auto* behind = std::get_if<after>(&start))
        state->hot.last = to_uint(behind->sequence);
    state->ring.resize(0);
    state->ring.start_at(state->hot.last + 1);
    if (auto done = impl_->file->ask([&] { return state->join_regions(start); }); !done)
        return tl::unexpected(std::move(done.error()));
    state->reach(committed);
    state->hot.show_up_to = state->pending.empty() ? state->reached : 0;
    state->keep_registered();
    return merged_cursor(std::move(state));
}

}  // namespace pmemstream
