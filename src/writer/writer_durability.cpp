#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/writer/writer_impl.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

// Persisting: what a policy does in the background, and what callers ask for.
namespace pmemstream {

using base::failure;

/// What the system refused of the medium keeps everything from being persisted until the next opening has looked.
result<void> writer::impl::note_medium(result<void> done) {
    if (!done && done.error().system_error() != 0 && !file->medium().has_faulted())
        flusher->fail(done.error());
    return done;
}

/// What must be ready before entries come.
int writer::impl::start_preparing(const durability::preparer::distance& distance) {
    using std::chrono::milliseconds;
    constexpr milliseconds idle{10}, moving{1};
    ahead.emplace(file->medium(), *flusher, distance);
    preparing.emplace(idle, [this, pages = distance.pages != 0](unsigned) {
        std::vector<format::region_slot*> slots;
        {
            const std::lock_guard guard(table_mutex);
            slots = slots_of_table();
        }
        const bool busy = ahead->look(slots);
        preparing_thread->set_period(busy && pages ? moving : idle);
    });
    preparing_thread = &*preparing;
    return preparing->start();
}

int writer::impl::start_background(const writer_options& options) {
    using std::chrono::milliseconds;
    const bool by_policy = policy.every > milliseconds::zero() || policy.every_bytes != 0;
    constexpr std::uint64_t usual_bytes = std::uint64_t{4} << 20;
    durability::preparer::distance distance;
    if (!file->medium().flushes())
        distance.zeros = options.prepare_ahead_bytes.value_or(by_policy || all_durable ? usual_bytes : 0);
    distance.pages = options.pretouch_ahead_bytes.value_or(by_policy ? usual_bytes : 0);
    if (all_durable)
        file->medium().sync_single_pages();
    else if (distance.pages != 0 && !by_policy)  // each round of a slow log would write a huge page
        file->medium().want_huge_pages();
    if (distance.zeros != 0 || distance.pages != 0)
        if (const int code = start_preparing(distance); code != 0)
            return code;
    if (!by_policy)
        return 0;
    // By bytes: appends tell nobody, so somebody looks, often enough.
    constexpr milliseconds look_every{1};
    const auto period = policy.every_bytes != 0 ? look_every : policy.every;
    background.emplace(period, [this](unsigned tick) { maintain_durability(tick); });
    return background->start();
}

void writer::impl::maintain_durability(unsigned tick) {
    bool due = policy.every_bytes == 0;
    if (!due) {
        due = policy.every > std::chrono::milliseconds::zero() &&
              tick % std::clamp<std::int64_t>(policy.every.count(), 1, std::int64_t{1} << 31) == 0;
        std::uint64_t waiting = 0;
        const std::lock_guard guard(table_mutex);
        for (std::uint32_t i = 0; i < table.slots() && !due; ++i) {
            const auto& slot = table.slot(i);
            if (format::state_of(base::load_acquire(slot.cold.state)) != format::slot_state::live)
                continue;
            const std::uint64_t persisted = format::persisted_offset_of(base::load_acquire(slot.persist.persisted));
            const std::uint64_t committed = base::load_acquire(slot.commit.commit_offset);
            waiting += committed - std::min(committed, persisted);
            due = waiting >= policy.every_bytes;
        }
    }
    // What goes wrong is told to whoever waits, and at the end to whoever closes.
    if (due)
        (void)flusher->wait(base::load_acquire(file->header().commit.sequence), std::chrono::nanoseconds::max());
}

result<bool> writer::wait_persisted(sequence upto, std::chrono::nanoseconds timeout) noexcept {
    if (!impl_->usable())
        return impl_->unusable();
    const auto& header = impl_->file->header();
    if (to_uint(upto) > base::load_acquire(header.commit.sequence))
        return failure(errc::invalid_argument, "{}: sequence {} is not committed yet; the newest is {}",
                       impl_->file->name(), to_uint(upto), base::load_acquire(header.commit.sequence));
    impl_->file->medium().sync_single_pages();
    return impl_->flusher->wait(to_uint(upto), timeout);
}

result<void> writer::persist() noexcept {
    auto done = impl_->usable() ? wait_persisted(committed()) : impl_->unusable();
    return done ? result<void>() : tl::unexpected(std::move(done.error()));
}

sequence writer::committed() const noexcept {
    return impl_->usable() ? sequence{base::load_acquire(impl_->file->header().commit.sequence)} : sequence::none;
}

sequence writer::persisted() const noexcept {
    return impl_->usable() ? sequence{base::load_acquire(impl_->file->header().persist.sequence)} : sequence::none;
}

}  // namespace pmemstream
