#include "ipc/reader_control.hpp"

#include "ipc/file_lock.hpp"
#include "ipc/futex.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/base/wall_clock.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

namespace pmemstream {

std::string_view to_string(control_state value) noexcept {
    switch (value) {
        case control_state::attached:
            return "attached";
        case control_state::absent:
            return "absent";
        case control_state::refused:
            return "refused";
        case control_state::lost:
            return "control_lost";
    }
    return "unknown";
}

namespace ipc {

using base::kill_point;
using base::mutant;
using base::mutated;

namespace {

// Without a doorbell: short sleeps that grow while nothing comes, so that an idle reader costs little.
constexpr std::chrono::nanoseconds poll_first = std::chrono::microseconds(50);
constexpr unsigned poll_doublings_max = 7;  // to 6.4 ms

bool lock_slot(int fd, std::uint32_t slot, short type) noexcept {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(control_file::offset_of(slot));
    lock.l_len = 1;
    return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

void store_name(reader_slot& slot, const std::string& name) noexcept {
    std::array<char, reader_name_bytes> padded{};
    std::copy_n(name.begin(), std::min(name.size(), padded.size() - 1), padded.begin());
    for (std::size_t i = 0; i < padded.size(); ++i)
        base::store_relaxed(slot.name[i], padded[i]);
}

std::string load_name(const reader_slot& slot) {
    std::string name;
    for (const char& c : slot.name) {
        const char got = base::load_relaxed(c);
        if (got == 0)
            break;
        name += got;
    }
    return name;
}

}  // namespace

reader_control::reader_control(result<control_place> place, const format::shared_header& header, uid_t stream_owner,
                               bool disabled, std::string reader_name)
    : place_(std::move(place)),
      name_(std::move(reader_name)),
      header_(header),
      stream_owner_(stream_owner),
      disabled_(disabled),
      primitives_work_(futex_works(header.wake.committed) && membarrier_works()) {
    const std::lock_guard lock(mutex_);
    attach_locked();
}

void reader_control::attach_locked() noexcept {
    if (disabled_)
        return;
    const std::uint64_t nonce = base::load_acquire(header_.identity.control_nonce);
    if (file_ && file_->lost()) {
        // Keep to polling until there is another file, instead of mapping the same stump again.
        nonce_tried_ = file_->nonce();
        file_.reset();
        state_ = control_state::lost;
    }
    if (nonce == nonce_tried_)
        return;
    file_.reset();
    nonce_tried_ = nonce;
    if (nonce == 0) {
        state_ = control_state::absent;
        return;
    }
    if (!primitives_work_) {
        state_ = control_state::refused;
        return;
    }
    auto got = place_ ? control_file::attach(*place_, nonce, stream_owner_, true) : tl::unexpected(place_.error());
    if (got) {
        file_ = std::move(*got);
        leased_.assign(reader_slots_max, false);
        state_ = control_state::attached;
    } else {
        state_ = got.error().code() == errc::no_permission ? control_state::refused : control_state::absent;
    }
}

control_state reader_control::state() {
    const std::lock_guard lock(mutex_);
    attach_locked();
    return state_;
}

result<std::shared_ptr<control_file>> reader_control::open_anew() const {
    if (!place_)
        return tl::unexpected(place_.error());
    return control_file::attach(*place_, base::load_acquire(header_.identity.control_nonce), stream_owner_, false);
}

std::shared_ptr<control_file> reader_control::current() noexcept {
    const std::lock_guard lock(mutex_);
    attach_locked();
    return file_;
}

void reader_control::sleep(const std::uint32_t& wake, std::uint32_t door_index, horizon horizon,
                           const watched_words& words, std::chrono::nanoseconds limit, unsigned& polls) noexcept {
    const auto control = current();
    base::die_at(kill_point::control_taken);
    std::uint32_t seen = base::load_acquire(wake);
    if (!control) {
        if (words.moved())
            return;
        const auto pause = poll_first * (1u << std::min(polls, poll_doublings_max));
        ++polls;
        // Another sleeper's ring ends it early where a futex works at all.
        if (futex_wait(wake, seen, std::min(limit, pause)) == futex_outcome::failed)
            std::this_thread::sleep_for(std::min(limit, pause));
        return;
    }
    polls = 0;
    auto& layout = control->layout();
    door& own = door_index == 0 ? layout.stream : layout.regions[door_index - 1];
    auto& flag = horizon == horizon::persisted ? own.persisted : own.committed;
    base::die_at(kill_point::word_read);
    // [D1] The wake word is read before the flag is set. Pairs with [D5] in doorbell.cpp: wherever a ring comes
    //      between, the word has moved or the flag stands.
    if (!mutated(mutant::flag_after_look))
        base::store_relaxed(flag, 1u);
    base::die_at(kill_point::flag_set);
    if (mutated(mutant::word_after_flag))
        seen = base::load_acquire(wake);
    // [D2] The flag is visible to the writer, and the writer's commit store to us, before we look again. Pairs with
    //      [D4] in append.hpp. Without it: both looks miss both stores.
    if (base::load_acquire(header_.identity.barrier_mode) == static_cast<std::uint32_t>(format::barrier_mode::fence))
        std::atomic_thread_fence(std::memory_order_seq_cst);
    else
        membarrier();
    // [D7] A new control file has a new nonce before its maker rings everybody. Pairs with [D8] in doorbell.cpp and
    //      [D9] in writer_control.cpp. Without the look: the flag stands in a file at which the writer looks no more.
    const bool renewed = base::load_acquire(header_.identity.control_nonce) != control->nonce();
    if ((renewed && !mutated(mutant::nonce_not_compared)) || control->lost())
        return;
    // [D3] The last look before the sleep, on a word read before. Pairs with [D6] in doorbell.cpp.
    //      Without it: what was committed before the flag stood is slept through.
    if (!mutated(mutant::no_last_look) && words.moved())
        return;
    base::die_at(kill_point::falls_asleep);
    if (mutated(mutant::flag_after_look))
        base::store_relaxed(flag, 1u);
    (void)futex_wait(wake, seen, limit);
}

slot_lease reader_control::lease(std::uint32_t region_index, std::uint64_t generation, std::uint64_t position,
                                 horizon horizon) {
    slot_lease got;
    const std::lock_guard lock(mutex_);
    attach_locked();
    if (!file_ || file_->fd() < 0)
        return got;
    auto& readers = file_->layout().readers;
    // Slots that say they are free first; then those of the dead, which only their lock tells.
    for (const bool take_over : {false, true}) {
        for (std::uint32_t i = 0; i < reader_slots_max; ++i) {
            if (leased_[i] || (!take_over && base::load_relaxed(readers[i].used) != 0) ||
                !lock_slot(file_->fd(), i, F_WRLCK))
                continue;
            auto& slot = readers[i];
            leased_[i] = true;
            base::store_relaxed(slot.pid, static_cast<std::uint32_t>(::getpid()));
            base::store_relaxed(slot.region_index, region_index);
            base::store_relaxed(slot.horizon, static_cast<std::uint32_t>(horizon));
            base::store_relaxed(slot.generation, generation);
            base::store_relaxed(slot.position, position);
            base::store_relaxed(slot.asleep, 0u);
            base::store_relaxed(slot.since_ns, base::wall_clock_ns());
            store_name(slot, name_);
            base::store_release(slot.used, 1u);
            got.owner_ = shared_from_this();
            got.file_ = file_;
            got.slot_ = &slot;
            got.index_ = i;
            return got;
        }
    }
    return got;
}

void reader_control::release(control_file& file, std::uint32_t slot) noexcept {
    const std::lock_guard lock(mutex_);
    if (file.fd() < 0)
        return;  // a forked child: the slot is its parent's
    if (!file.lost())
        base::store_release(file.layout().readers[slot].used, 0u);
    lock_slot(file.fd(), slot, F_UNLCK);
    if (file_.get() == &file)
        leased_[slot] = false;
}

slot_lease::slot_lease(slot_lease&& other) noexcept
    : owner_(std::move(other.owner_)),
      file_(std::move(other.file_)),
      slot_(std::exchange(other.slot_, nullptr)),
      index_(other.index_) {}

slot_lease& slot_lease::operator=(slot_lease&& other) noexcept {
    if (this != &other) {
        drop();
        owner_ = std::move(other.owner_);
        file_ = std::move(other.file_);
        slot_ = std::exchange(other.slot_, nullptr);
        index_ = other.index_;
    }
    return *this;
}

slot_lease::~slot_lease() {
    drop();
}

void slot_lease::drop() noexcept {
    if (slot_ == nullptr)
        return;
    owner_->release(*file_, index_);
    slot_ = nullptr;
    file_.reset();
    owner_.reset();
}

std::vector<registered_reader> registered_readers(const control_file& file, int query) {
    std::vector<registered_reader> all;
    for (std::uint32_t i = 0; i < reader_slots_max; ++i) {
        const auto& slot = file.layout().readers[i];
        if (base::load_acquire(slot.used) == 0)
            continue;
        registered_reader r;
        r.slot = i;
        r.pid = base::load_relaxed(slot.pid);
        r.name = load_name(slot);
        r.alive = is_locked(query, true, control_file::offset_of(i), 1);
        r.all_regions = base::load_relaxed(slot.region_index) == all_regions;
        if (!r.all_regions)
            r.where = region(base::load_relaxed(slot.region_index), base::load_relaxed(slot.generation));
        r.horizon = base::load_relaxed(slot.horizon) == 0 ? horizon::committed : horizon::persisted;
        r.position = base::load_relaxed(slot.position);
        r.asleep = base::load_relaxed(slot.asleep) != 0;
        all.push_back(std::move(r));
    }
    return all;
}

void reclaim_slots(control_file& file) noexcept {
    if (file.fd() < 0)
        return;
    for (std::uint32_t i = 0; i < reader_slots_max; ++i) {
        auto& slot = file.layout().readers[i];
        if (base::load_acquire(slot.used) == 0 || !lock_slot(file.fd(), i, F_WRLCK))
            continue;
        base::store_release(slot.used, 0u);
        lock_slot(file.fd(), i, F_UNLCK);
    }
}

}  // namespace ipc
}  // namespace pmemstream
