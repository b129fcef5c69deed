#include "ipc/control_file.hpp"
#include "ipc/reader_control.hpp"
#include "src/base/mapped.hpp"
#include "src/log/writer_impl.hpp"

#include <algorithm>
#include <utility>

// The writer's side of the control file: making it, and looking after it from the housekeeper's thread.
namespace pmemstream {

using base::store_release;

result<void> writer::impl::make_control_file() {
    auto& nonce = file->header().identity.control_nonce;
    auto made = ipc::control_file::adopt_or_create(control_path, bell->control() ? 0 : nonce, control_mode);
    if (!made) {
        store_release(nonce, std::uint64_t{0});
        ring_everybody();
        return tl::unexpected(std::move(made.error()));
    }
    const std::uint64_t value = (*made)->nonce();
    bell->use(std::move(*made));
    // [D9] The nonce is stored before everybody is rung for. Pairs with [D7] in reader_control.cpp.
    //      Without it: a sleeper of the old file is rung for, finds the old nonce, and goes back to sleep behind a flag
    //      at which nobody looks.
    store_release(nonce, value);
    ring_everybody();
    return {};
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

void writer::impl::tend_control_file(unsigned tick) {
    if (bell->take_put_off()) {
        const std::lock_guard guard(table_mutex);
        for (std::uint32_t i = 0; i < table.slots(); ++i)
            bell->ring_where_wanted(i, table.slot(i).commit.wake);
    }
    const auto control = bell->control();
    // Somebody who keeps deleting it gets a new one ten times a second at first and then less and less often; each
    // costs memory until the writer closes.
    if (!control || control->lost() || !control->in_place(control_path)) {
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

}  // namespace pmemstream
