#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/log/reader_impl.hpp"
#include "src/log/registration.hpp"
#include "src/log/waiting.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace pmemstream {

using log::step;

// Every region's walk holds its next entry ready; a heap orders the walks by that entry's timestamp. An entry may be
// shown once the stream's committed timestamp, read before the regions' commit offsets, has reached it: then no smaller
// one can still appear.
struct merged_cursor::impl {
    struct source {
        entry_walk walk;
        std::optional<entry> head;

        [[nodiscard]] step advance() noexcept {
            const step got = walk.next();
            if (got == step::entry)
                head = walk.shown();
            return got;
        }
    };

    std::shared_ptr<reader::impl> of;
    cursor_options options;
    std::vector<std::unique_ptr<source>> ready;   // a heap, smallest timestamp first
    std::vector<std::unique_ptr<source>> idle;    // nothing committed behind their last entry yet
    std::vector<std::unique_ptr<source>> pulled;  // idle ones while look_further() asks each; kept for its capacity
    log::region_table table;                      // this cursor's own, so that a look needs no lock and no copy
    std::vector<std::uint64_t> joined;            // by slot index: the state word under which it joined
    std::uint64_t reached = 0;                    // all entries up to this timestamp are in `ready`, or shown
    std::uint64_t last = 0;
    std::vector<error> pending;  // to be told by the next calls, in place of entries; the last one stays if damaged
    bool damaged = false;
    log::registration registration;
    result<void> status;

    impl(std::shared_ptr<reader::impl> reader, const cursor_options& how)
        : of(std::move(reader)),
          options(how),
          registration(how.registered, how.horizon, *of->control, of->file->header()) {}

    static bool later(const std::unique_ptr<source>& a, const std::unique_ptr<source>& b) noexcept {
        return a->head->timestamp() > b->head->timestamp();
    }

    void keep_registered() { registration.renew(ipc::all_regions, 0, last); }

    /// Puts a source where it belongs after a step of its walk; one that is over is dropped, and why it is, kept.
    void put(std::unique_ptr<source> from, step got) {
        if (got == step::entry) {
            ready.push_back(std::move(from));
            std::push_heap(ready.begin(), ready.end(), later);
        } else if (got == step::nothing_yet) {
            idle.push_back(std::move(from));
        } else {
            if (!damaged)
                pending.push_back(from->walk.failure(got).value());
            damaged = damaged || got != step::gone;
        }
    }

    /// Regions that were allocated since the last look. `start`: for those that are there when the cursor is made.
    [[nodiscard]] result<void> join_regions(const start_at& start) {
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
            auto from = std::make_unique<source>(
                source{entry_walk(*of->file, table.slot(i),
                                  of->view(table.slot(i), region(i, format::generation_of((*cold)->state))), **cold,
                                  options.horizon, options.check_crc),
                       {}});
            if (of->unrecovered)
                from->walk.distrust();
            step got = step::nothing_yet;
            if (const auto* behind = std::get_if<after>(&start)) {
                got = from->walk.skip_after(to_uint(behind->timestamp));
            }
            if (got == step::entry || got == step::nothing_yet)
                got = from->advance();
            joined[i] = (*cold)->state;
            const std::size_t sources = ready.size() + idle.size() + pulled.size() + 1;
            ready.reserve(sources);
            idle.reserve(sources);
            pulled.reserve(sources);
            put(std::move(from), got);
        }
        return {};
    }

    /// Reaches further and gathers what became visible. False: nothing did.
    [[nodiscard]] result<bool> look_further() {
        // [V4] acquire, and read before the regions. Pairs with the release [V3] in append.hpp and [V8] in flusher.cpp.
        const std::uint64_t committed = base::load_acquire(stream_timestamp());
        if (committed == reached)
            return false;
        if (auto done = join_regions(after{pmemstream::timestamp{last}}); !done)
            return tl::unexpected(std::move(done.error()));
        pulled.swap(idle);
        for (auto& from : pulled) {
            const step got = from->advance();
            put(std::move(from), got);
        }
        pulled.clear();
        base::die_at(base::kill_point::regions_read);
        reached =
            base::mutated(base::mutant::regions_before_timestamp) ? base::load_acquire(stream_timestamp()) : committed;
        return true;
    }

    [[nodiscard]] result<std::optional<entry>> next() noexcept {
        for (;;) {
            if (!pending.empty()) [[unlikely]] {
                auto told = tl::unexpected(pending.front());
                if (!damaged || pending.size() > 1)
                    pending.erase(pending.begin());
                return told;
            }
            if (!ready.empty() && to_uint(ready.front()->head->timestamp()) <= reached) [[likely]]
                break;
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
        std::pop_heap(ready.begin(), ready.end(), later);
        auto from = std::move(ready.back());
        ready.pop_back();
        const entry shown = *from->head;
        if (!shown.valid()) [[unlikely]] {
            auto why = from->walk.failure(of->file->is_lost() ? step::faulted : step::gone);
            return why;
        }
        const step got = from->advance();
        put(std::move(from), got);
        last = to_uint(shown.timestamp());
        registration.lease().move_to(last);
        return shown;
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
    for (const auto* sources : {&self.ready, &self.idle})
        for (const auto& from : *sources) {
            const std::uint64_t committed = from->walk.limit_now();
            const std::uint64_t next = sources == &self.ready ? to_uint(from->head->offset()) : from->walk.position();
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
    if (auto done = impl_->file->ask([&] { return state->join_regions(start); }); !done)
        return tl::unexpected(std::move(done.error()));
    state->reached = committed;
    state->keep_registered();
    return merged_cursor(std::move(state));
}

}  // namespace pmemstream
