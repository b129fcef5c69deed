#pragma once

#include "ipc/doorbell.hpp"
#include "src/durability/turns.hpp"
#include "src/format/layout.hpp"
#include "src/medium/mapping.hpp"

#include <pmemstream/result.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

namespace pmemstream::durability {

/// How far the medium's persisted words may lag behind: as much as a rescan reads in a moment. How long: flusher::maintain().
#ifdef PMEMSTREAM_TEST_HOOKS
inline std::uint64_t words_bytes_max = std::uint64_t{16} << 20;  // set while no stream is open
#else
inline constexpr std::uint64_t words_bytes_max = std::uint64_t{16} << 20;
#endif

/// Moves the persisted offsets of a writer's stream forward, one round at a time, in the thread of whoever wants them
/// moved: while one thread flushes, the others wait, and what was committed meanwhile is the next one's round. So a
/// single waiter pays for no change of threads, and many share each round.
/// Thread safety: all of it, beside one appending thread.
class flusher {
public:
    /// `fault_state`: see base::fault_state.
    flusher(medium::mapping& medium, format::shared_header& header, const std::uint32_t& fault_state) noexcept;

    /// Keeps every other round away for as long as it lives: for changing the table, or what it says.
    class pause {
    public:
        explicit pause(flusher& of) noexcept : of_(of) { of_.turns_.begin(); }
        ~pause() { of_.turns_.end(); }
        pause(const pause&) = delete;
        pause& operator=(const pause&) = delete;

    private:
        flusher& of_;
    };

    /// The slots of the region table, in order. Under a pause, or before anybody else can call.
    void use(std::vector<format::region_slot*> slots);
    /// Whom to ring for persisted entries. Before anybody else can call.
    void use(ipc::doorbell& bell) noexcept {
        bell_ = &bell;
        if (medium_.flushes() && !bell.fenced())
            turns_.leave_fences_to_sleepers();
    }
    using entry_check = std::function<result<void>(std::uint32_t index, medium::byte_range entries)>;
    /// Of any page the kernel may say wrongly that it is on the medium, for its write was refused, and whom that was told
    /// is dead. So every round stores what it persists again first, and behind its sync asks whether the file system
    /// knows of it. `earlier`, by slot, is where the entries of earlier writers end: before they are persisted `check`
    /// looks at them. Before anybody else can call; only where the medium syncs pages.
    void doubt(std::vector<std::uint64_t> earlier, entry_check check);
    /// The writer's, kept in the persisted words: see format::persisted_word.
    void set_epoch(std::uint64_t epoch) noexcept { epoch_ = epoch; }

    /// Returns true once every entry up to `upto`, which is committed, is persisted, and false after `timeout`. The
    /// round that it runs itself is not cut short by the timeout. Errors: io, no_space (sticky: see failure()).
    [[nodiscard]] result<bool> wait(std::uint64_t upto, std::chrono::nanoseconds timeout) noexcept;

    /// Where the medium flushes single stores: makes everything in one region persistent, the usual end of a durable
    /// append. Its slot is live; `durable` was made durable before. Errors as for wait().
    [[nodiscard]] result<void> persist_region(std::uint32_t index, medium::byte_range durable = {}) noexcept;

    /// A round over everything, under a pause: also the persisted words themselves are durable then, and every live
    /// region's carries this epoch. Errors as for wait().
    [[nodiscard]] result<void> persist_everything() noexcept;

    /// To be called a few times a second: makes durable the words that rounds have stored since, so that little is left
    /// for a rescan, and rot in old entries is never taken for a torn tail. What goes wrong is kept: see failure().
    void maintain() noexcept;

    /// Under a pause: the header's committed sequence is durable and as large as every entry's. Errors as for wait().
    [[nodiscard]] result<void> persist_sequence() noexcept;

    /// The medium refused something; nothing is persisted any more until the stream is opened anew. Says so in the
    /// header.
    void fail(const error& why) noexcept;
    [[nodiscard]] std::optional<error> failure() const;

private:
    struct moved_region {
        std::uint32_t index = 0;
        std::uint64_t offset = 0;
        std::uint64_t sequence = 0;
        std::uint64_t mark_offset = 0;
    };

    [[nodiscard]] result<void> check_usable() const noexcept;
    [[nodiscard]] result<void> round() noexcept;
    [[nodiscard]] result<void> make_durable(medium::elsewhere rest) noexcept;
    [[nodiscard]] result<void> persist_words() noexcept;
    [[nodiscard]] result<void> persist_words_if_due() noexcept;
    [[nodiscard]] result<void> checked(result<void> done) noexcept;
    [[nodiscard]] bool all_is_persisted() const noexcept;
    [[nodiscard]] result<void> store_again() noexcept;
    [[nodiscard]] result<void> check_written() const noexcept;
    void ring_for_moved() noexcept;
    [[nodiscard]] static moved_region look_at(std::uint32_t index, const format::region_slot& slot) noexcept;
    void store_words(const moved_region& region) noexcept;

    medium::mapping& medium_;
    format::shared_header& header_;
    const std::uint32_t& fault_state_;
    ipc::doorbell* bell_ = nullptr;  // null: nobody to ring yet
    std::uint64_t epoch_ = 0;

    turns turns_;
    std::atomic<std::chrono::nanoseconds> round_took_{std::chrono::nanoseconds(0)};  // the last one of wait()
    std::atomic<bool> words_put_off_{false};  // maintain() came while somebody was busy

    // Of the one whose turn it is.
    std::vector<format::region_slot*> slots_;
    std::vector<moved_region> moved_;
    std::vector<medium::mapping::range> ranges_;
    bool doubts_ = false;                 // see doubt()
    std::vector<std::uint64_t> earlier_;  // by slot
    entry_check check_earlier_;
    std::vector<bool> words_stale_;  // by slot: its words are newer than what the medium has
    bool any_words_stale_ = false;
    std::uint64_t bytes_since_words_ = 0;
    std::uint64_t durable_sequence_ = 0;  // the header's committed sequence, on the medium

    mutable std::mutex failure_mutex_;
    std::optional<error> failure_;
    std::atomic<bool> failed_{false};
};

}  // namespace pmemstream::durability
