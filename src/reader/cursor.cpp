#include <pmemstream/cursor.hpp>

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/reader/reader_impl.hpp"
#include "src/reader/registration.hpp"
#include "src/reader/waiting.hpp"

#include <algorithm>
#include <utility>

namespace pmemstream {

using core::step;

struct cursor::impl {
    std::shared_ptr<reader::impl> of;
    entry_walk walk;
    cursor_options options;
    core::registration registration;
    core::coalescing pace;
    result<void> status;

    impl(std::shared_ptr<reader::impl> reader, entry_walk at, const cursor_options& how)
        : of(std::move(reader)),
          walk(at),
          options(how),
          registration(how.registered, how.horizon, *of->control, of->file->header()),
          pace(how) {
        keep_registered();
    }

    void keep_registered() {
        registration.renew(walk.where().index(), walk.where().generation(), walk.position());
        walk.at().shown_up_to = registration.lease().position_word();
    }

    [[nodiscard]] entry show() noexcept {
        registration.lease().move_to(walk.position());
        return walk.shown();
    }

    /// What is beyond the inlined part of a step.
    [[nodiscard]] result<std::optional<entry>> next() noexcept {
        if (walk.keep(walk.checked_step()))
            return show();
        // Before the step: the region is to be pinned when its entry is handed out.
        if (registration.due()) [[unlikely]]
            keep_registered();
        const step got = walk.next();
        if (got == step::entry)
            return show();
        if (got == step::nothing_yet) {
            if (of->copy_up && of->copy_up->happened()) [[unlikely]]
                return of->copy_up->failure();
            return std::nullopt;
        }
        return walk.failure(got);
    }

    [[nodiscard]] ipc::watched_words watch() const noexcept {
        return {&walk.limit_word(), walk.limit_seen(), &walk.slot().cold.state, walk.state()};
    }

    /// A region beyond the last door shares the stream's.
    [[nodiscard]] core::waiting_place place() noexcept {
        const bool own_door = walk.where().index() < ipc::region_doors;
        const auto& slot = walk.slot();
        const auto& stream = of->file->header().wake;
        const bool persisted = options.horizon == horizon::persisted;
        const auto* const wake = own_door ? (persisted ? &slot.persist.wake : &slot.commit.wake)
                                          : (persisted ? &stream.persisted : &stream.committed);
        return {of->control.get(),
                wake,
                own_door ? walk.where().index() + 1 : 0,
                options.horizon,
                &registration.lease(),
                of->file.get(),
                of->copy_up != nullptr};
    }
};

cursor::cursor(std::unique_ptr<impl> state) noexcept : at_(&state->walk.at()), impl_(std::move(state)) {}
cursor::cursor(cursor&& other) noexcept : at_(std::exchange(other.at_, nullptr)), impl_(std::move(other.impl_)) {}
cursor& cursor::operator=(cursor&& other) noexcept {
    impl_ = std::move(other.impl_);
    at_ = impl_ != nullptr ? &impl_->walk.at() : nullptr;
    if (this != &other)
        other.at_ = nullptr;
    return *this;
}
cursor::~cursor() = default;

result<std::optional<entry>> cursor::next_any() noexcept {
    return impl_->next();
}

result<std::optional<entry>> cursor::wait_any(std::chrono::nanoseconds timeout) noexcept {
    auto& self = *impl_;
    return core::wait_for([&self] { return self.next(); }, [&self] { return self.walk.limit() - self.walk.position(); },
                          [&self] { return self.watch(); }, [&self] { self.keep_registered(); }, self.place(),
                          self.options, timeout, self.pace);
}

std::optional<entry> cursor::next_or_status() noexcept {
    auto got = impl_->next();
    if (got)
        return *got;
    impl_->status = tl::unexpected(std::move(got.error()));
    return std::nullopt;
}

entry_iterator<cursor> cursor::begin() noexcept {
    impl_->status = {};
    return entry_iterator<cursor>(this);
}

const result<void>& cursor::status() const noexcept {
    return impl_->status;
}

region cursor::where() const noexcept {
    return impl_->walk.where();
}

offset cursor::position() const noexcept {
    return pmemstream::offset{impl_->walk.position()};
}

sequence cursor::last() const noexcept {
    return impl_->walk.at_start() ? pmemstream::sequence::none : pmemstream::sequence{impl_->walk.last()};
}

cursor_lag cursor::lag() const noexcept {
    const std::uint64_t committed = impl_->walk.limit_now();
    const std::uint64_t newest = impl_->walk.newest();
    const std::uint64_t position = impl_->walk.position();
    if (committed <= position)
        return {};
    return {newest - std::min(newest, impl_->walk.last()), committed - position};
}

bool cursor::registered() const noexcept {
    return impl_->registration.held();
}

result<entry_walk> reader::impl::start_walk(const core::region_table& now, region where,
                                            const cursor_options& options) {
    auto walk = this->walk(now, where, options.horizon, options.check_crc);
    if (!walk)
        return walk;
    step got = step::nothing_yet;
    if (!std::holds_alternative<from_oldest>(options.start))
        got = walk->refresh();
    if (got == step::entry || got == step::nothing_yet) {
        if (std::holds_alternative<from_newest>(options.start))
            walk->skip_to_newest();
        else if (const auto* start = std::get_if<after>(&options.start))
            got = walk->skip_after(to_uint(start->sequence));
        else if (const auto* at = std::get_if<at_offset>(&options.start); at && !walk->skip_to(to_uint(at->offset)))
            return base::failure(errc::invalid_offset, "{}: {}: no entry begins at offset {}", file->name(),
                                 core::region_text(walk->slot().cold, where.index()), to_uint(at->offset));
    }
    if (got != step::entry && got != step::nothing_yet)
        return walk->failure(got);
    return walk;
}

result<cursor> reader::follow(region where, const cursor_options& options) const {
    auto walk = impl_->ask([&](const auto& table) { return impl_->start_walk(table, where, options); });
    if (!walk)
        return tl::unexpected(std::move(walk.error()));
    return cursor(std::make_unique<cursor::impl>(impl_, *walk, options));
}

}  // namespace pmemstream
