#include "ipc/control_file.hpp"
#include "ipc/reader_control.hpp"
#include "src/base/mapped.hpp"
#include "src/base/step_order.hpp"
#include "src/writer/writer_impl.hpp"

#include <algorithm>
#include <utility>

// The writer's side of the control file: making it, and looking after it from the housekeeper's thread.
namespace pmemstream {

using base::store_release;

result<void> writer::impl::make_control_file() {
    auto& nonce = file->header().identity.control_nonce;
    const auto earlier = bell->control();
    auto made = [&]() -> result<std::shared_ptr<ipc::control_file>> {
        if (!control_place) {
            auto found = ipc::control_place::beside(file->path(), file->device(), file->inode());
            if (!found)
                return tl::unexpected(std::move(found.error()));
            control_place = std::move(*found);
        }
        return ipc::control_file::adopt_or_create({.place = *control_place,
                                                   .nonce = earlier ? 0 : nonce,
                                                   .mode = control_mode,
                                                   .owner = file->owner(),
                                                   .group = file->group(),
                                                   .earlier = earlier.get()});
    }();
    note_control(made ? result<void>() : tl::unexpected(made.error()));
    if (!made) {
        store_release(nonce, std::uint64_t{0});
        ring_everybody();
        return tl::unexpected(std::move(made.error()));
    }
    const std::uint64_t value = (*made)->nonce();
    // [D9] The nonce is stored before everybody is rung for. Pairs with [D7] in reader_control.cpp.
    //      Without it: a sleeper of the old file is rung for, finds the old nonce, and goes back to sleep behind a flag
    //      at which nobody looks.
    const auto announce = [&] {
        base::in_order(
            base::mutant::ring_before_nonce, base::kill_point::control_named, [&] { store_release(nonce, value); },
            [this] { ring_everybody(); });
    };
    // Why the new file comes before its nonce says [D8] in doorbell.cpp.
    base::in_order(
        base::mutant::doors_last, base::kill_point::control_renewed, [&] { bell->use(std::move(*made)); }, announce);
    return {};
}

void writer::impl::note_control(result<void> made) {
    const std::lock_guard guard(control_mutex);
    control_made = std::move(made);
}

void writer::impl::ring_everybody() {
    const std::lock_guard guard(table_mutex);
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto& slot = table.slot(i);
        if (base::load_relaxed(slot.cold.state) == 0)
            continue;  // never used; a freed one may have sleepers that were not told
        bell->ring(slot.commit.wake);
        bell->ring(slot.persist.wake);
    }
    bell->ring(bell->stream_wake());
    bell->ring(file->header().wake.persisted);
}

void writer::impl::maintain_control_file(unsigned tick) {
    if (bell->take_put_off()) {
        const std::lock_guard guard(table_mutex);
        for (std::uint32_t i = 0; i < table.slots(); ++i)
            bell->ring_where_wanted(i, table.slot(i).commit.wake);
    }
    const auto control = bell->control();
    // Somebody who keeps deleting it gets a new one ten times a second at first and then less and less often; each
    // costs memory until the writer closes.
    if (!control || control->lost() || !control->is_at(*control_place)) {
        if (tick >= next_control_tick) {
            next_control_tick = tick + control_pause;
            control_pause = std::min(control_pause * 2, 600u);
            (void)make_control_file();
        }
        return;
    }
    if (tick % 10 == 0)
        ipc::reclaim_slots(*control);
}

control_state writer::control() const noexcept {
    if (!impl_->usable() || !impl_->control_wanted)
        return control_state::absent;
    const auto control = impl_->bell->control();
    const std::lock_guard guard(impl_->control_mutex);
    if (!impl_->control_made)
        return control_state::refused;
    return control && control->lost() ? control_state::lost : control_state::attached;
}

result<void> writer::control_status() const {
    if (!impl_->usable())
        return {};
    const std::lock_guard guard(impl_->control_mutex);
    return impl_->control_made;
}

}  // namespace pmemstream
