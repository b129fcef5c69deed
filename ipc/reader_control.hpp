#pragma once

#include "ipc/control_file.hpp"
#include "src/base/mapped.hpp"
#include "src/format/layout.hpp"

#include <pmemstream/reader.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace pmemstream::ipc {

/// What a sleeper waits for: one of two words to move.
struct watched_words {
    const std::uint64_t* progress = nullptr;
    std::uint64_t progress_seen = 0;
    const std::uint64_t* state = nullptr;
    std::uint64_t state_seen = 0;

    [[nodiscard]] bool moved() const noexcept {
        return base::load_acquire(*progress) != progress_seen || base::load_acquire(*state) != state_seen;
    }
};

class slot_lease;

/// A reader's end of the control file: attaches, notices a new one, sleeps, hands out reader slots.
/// Thread safety: all of it.
class reader_control : public std::enable_shared_from_this<reader_control> {
public:
    /// `place`: where the control file is looked for, or why it cannot be.
    reader_control(result<control_place> place, const format::shared_header& header, uid_t stream_owner, bool disabled,
                   std::string reader_name);

    [[nodiscard]] control_state state();

    /// Sleeps until the words may have moved, or for `limit` at most. `door_index`: 0 for the stream, else index + 1 of
    /// the region (beyond the last door: the caller uses the stream's door and wake word).
    void sleep(const std::uint32_t& wake, std::uint32_t door_index, horizon horizon, const watched_words& words,
               std::chrono::nanoseconds limit, unsigned& polls) noexcept;

    /// A slot for a cursor; a lease without a slot when there is none to be had. `region_index` may be all_regions.
    [[nodiscard]] slot_lease lease(std::uint32_t region_index, std::uint64_t generation, std::uint64_t position,
                                   horizon horizon);

    /// The file in use, for those who hold a lease to compare.
    [[nodiscard]] std::shared_ptr<control_file> current() noexcept;
    /// The one that is there now, opened for reading only. Errors as of control_file::attach().
    [[nodiscard]] result<std::shared_ptr<control_file>> open_anew() const;

private:
    friend class slot_lease;
    void attach_locked() noexcept;
    void release(control_file& file, std::uint32_t slot) noexcept;

    const result<control_place> place_;
    const std::string name_;
    const format::shared_header& header_;
    const uid_t stream_owner_;
    const bool disabled_;
    const bool primitives_work_;

    std::mutex mutex_;
    std::shared_ptr<control_file> file_;  // under mutex_; null unless attached
    std::uint64_t nonce_tried_ = 0;       // the nonce of the last attempt to attach
    control_state state_ = control_state::absent;
    std::vector<bool> leased_;  // our own locks do not conflict with one another, so this keeps them apart
};

/// A reader slot, held until destroyed. The kernel releases it when the process dies.
class slot_lease {
public:
    slot_lease() noexcept = default;
    slot_lease(slot_lease&& other) noexcept;
    slot_lease& operator=(slot_lease&& other) noexcept;
    ~slot_lease();

    [[nodiscard]] bool held() const noexcept { return slot_ != nullptr; }
    [[nodiscard]] const control_file* file() const noexcept { return file_.get(); }
    void move_to(std::uint64_t position) noexcept {
        if (slot_ != nullptr)
            base::store_relaxed(slot_->position, position);
    }
    /// Where move_to() says it; null where nobody is told.
    [[nodiscard]] std::uint64_t* position_word() const noexcept {
        return slot_ != nullptr ? &slot_->position : nullptr;
    }
    void set_asleep(bool asleep) noexcept {
        if (slot_ != nullptr)
            base::store_relaxed(slot_->asleep, std::uint32_t{asleep});
    }

private:
    friend class reader_control;
    void drop() noexcept;
    std::shared_ptr<reader_control> owner_;
    std::shared_ptr<control_file> file_;
    reader_slot* slot_ = nullptr;
    std::uint32_t index_ = 0;
};

/// All slots in use. `query`: a description that holds none of the locks (one's own never conflict).
[[nodiscard]] std::vector<registered_reader> registered_readers(const control_file& file, int query);

/// Frees the slots of the dead. `file` is the writer's.
void reclaim_slots(control_file& file) noexcept;

}  // namespace pmemstream::ipc
