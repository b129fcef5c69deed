#pragma once

#include "ipc/doorbell.hpp"
#include "ipc/file_lock.hpp"
#include "src/base/fault_state.hpp"
#include "src/durability/flusher.hpp"
#include "src/durability/preparer.hpp"
#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "src/recovery/trust.hpp"
#include "src/stream/free_space.hpp"
#include "src/stream/region_table.hpp"
#include "src/stream/stream_file.hpp"
#include "src/writer/housekeeper.hpp"

#include <pmemstream/detail/append.hpp>
#include <pmemstream/writer.hpp>

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace pmemstream {

namespace core {

/// A reservation as the writer keeps it: claims are committed in the order in which they were made.
struct claim {
    enum class state : std::uint8_t { open, ready, abandoned };
    std::uint64_t offset = 0;
    std::uint32_t payload_bytes = 0;
    std::uint32_t payload_crc_state = 0;
    state now = state::open;
};

/// The open reservations of a region: those numbered [first, next), at their number modulo `max`.
struct claim_ring {
    static constexpr std::uint64_t max = 64;
    std::array<claim, max> claims;
    std::uint64_t first = 0;
    std::uint64_t next = 0;
    std::uint64_t end = 0;  // of the last claim; means something while one is open

    [[nodiscard]] bool any_open() const noexcept { return first != next; }

    [[nodiscard]] claim& operator[](std::uint64_t number) noexcept { return claims[number % max]; }
};

}  // namespace core

struct writer::impl {
    explicit impl(detail::append_state& state) noexcept : hot(state) {}

    detail::append_state& hot;  // what every append needs
    std::shared_ptr<core::stream_file> file;
    std::unique_ptr<ipc::file_lock> lock;
    core::region_table table;
    std::vector<detail::append_region> regions;             // by slot index, as are the next
    std::vector<std::unique_ptr<core::claim_ring>> claims;  // null: no region was live there yet
    std::uint32_t* fault_state = nullptr;                   // the mapping's word
    std::optional<core::free_space> space;
    recovery_report report;
    std::uint64_t epoch = 0;
    std::uint64_t next_generation = 1;
    std::optional<ipc::doorbell> bell;
    std::optional<durability::flusher> flusher;
    durability_policy policy;
    bool all_durable = false;  // every append returns at persisted
    bool control_wanted = false;
    std::optional<ipc::control_place> control_place;  // none yet, or it could not be found
    mode_t control_mode = 0600;
    mutable std::mutex control_mutex;
    result<void> control_made;       // how the last attempt ended; under control_mutex
    std::mutex table_mutex;          // the housekeeper walks the table while a segment may be added
    unsigned next_control_tick = 0;  // these two are the housekeeper's
    unsigned control_pause = 1;
    std::optional<core::housekeeper> keeper;
    std::optional<core::housekeeper> background;  // moves the persisted offsets by the policy
    std::optional<durability::preparer> ahead;
    std::optional<core::housekeeper> preparing;
    core::housekeeper* preparing_thread = nullptr;  // itself, for its own ticks: the optional is empty while it ends

    // writer.cpp
    [[nodiscard]] result<void> open(const std::filesystem::path& path, const writer_options& options);
    [[nodiscard]] result<void> close();
    [[nodiscard]] result<void> close_in_order();
    [[nodiscard]] result<void> take_over(core::last_writer last);
    [[nodiscard]] result<void> note_medium(result<void> done);
    [[nodiscard]] result<void> make_control_file();
    void note_control(result<void> made);
    void maintain_control_file(unsigned tick);
    void ring_everybody();
    [[nodiscard]] int start_preparing(const durability::preparer::distance& distance);
    [[nodiscard]] int start_background(const writer_options& options);
    void maintain_durability(unsigned tick);

    // region_allocation.cpp
    void open_regions();
    void open_region(std::uint32_t index);
    [[nodiscard]] result<region> allocate(std::uint64_t size_bytes, std::string_view name,
                                          const region_attributes& attributes);
    [[nodiscard]] result<void> free(region where, bool force);
    [[nodiscard]] result<region> clear(region where, bool force);
    [[nodiscard]] result<std::uint32_t> free_slot();
    [[nodiscard]] tl::unexpected<error> refuse_generations() const;
    [[nodiscard]] result<void> add_segment();
    void ring_sleepers(std::uint32_t index) noexcept;
    void use_regions() noexcept;
    [[nodiscard]] std::vector<format::region_slot*> slots_of_table() const;
    [[nodiscard]] result<void> check_free_of_users(region where) const;

    // append.cpp
    [[nodiscard]] std::string name_of(region where) const;
    void announce_too_early(std::uint32_t index, std::uint64_t end) noexcept;
    /// A payload that is not short, in the usual case; false where nothing was done.
    /// For append_state::copy_long.
    [[nodiscard]] static decltype(detail::append_state::copy_long) long_copy() noexcept;
    /// An inlined append of a longer payload, as mutants have it.
    [[nodiscard]] detail::appended append_long(region where, std::span<const std::byte> payload) noexcept;
    /// Of an entry that is whole and will not be committed: where pages are synced, the next writer may believe what lies
    /// behind the commit offset of one that died. Nothing where the file may be another writer's by now.
    void rollback_append(std::uint64_t entry) const noexcept {
        if (base::fault_state::load(*fault_state) == base::fault_state::faulted)
            file->store_zeros(entry, sizeof(format::entry_header));
    }
    /// `past_caches`: where the payload may go to the medium directly, and which of its bytes did; null: nowhere.
    [[nodiscard]] result<sequence> append(region where, std::span<const std::byte> payload,
                                          medium::byte_range* past_caches = nullptr) noexcept;
    [[nodiscard]] result<sequence> append_durably(region where, std::span<const std::byte> payload) noexcept;
    [[nodiscard]] result<sequence> persist_appended(std::uint32_t index, result<sequence> appended,
                                                    medium::byte_range past_caches = {}) noexcept;
    [[nodiscard]] std::uint32_t copy_past_caches(std::uint64_t offset, std::span<const std::byte> payload,
                                                 std::uint32_t crc_seed) noexcept;
    [[nodiscard]] result<sequence> append_batch(region where,
                                                std::span<const std::span<const std::byte>> payloads) noexcept;
    [[nodiscard]] result<std::pair<std::uint64_t, std::span<std::byte>>> reserve(region where,
                                                                                 std::uint64_t payload_bytes) noexcept;
    [[nodiscard]] result<sequence> finish(region where, std::uint64_t number, core::claim::state how) noexcept;
    /// Makes everything up to `end` visible. `newest`: the greatest sequence in the region by then; all that were
    /// given in the stream so far are committed with it.
    void commit(std::uint32_t index, std::uint64_t end, std::uint64_t newest) noexcept;

    [[nodiscard]] bool has_fault(std::uint32_t bits) const noexcept {
        return (base::fault_state::load(*fault_state) & bits) != 0;
    }
    /// In a state to write at all: not closed, not a forked child, no fault of the mapping.
    [[nodiscard]] bool usable() const noexcept { return base::fault_state::load(*fault_state) == 0; }
    [[nodiscard]] tl::unexpected<error> unusable() const;
    /// What `question` answers, where the writer may be used; see stream_file::ask().
    template <class Question>
    [[nodiscard]] auto ask(const Question& question) const -> decltype(question()) {
        if (!usable())
            return unusable();
        return file->ask(question);
    }
    /// Null: the handle's generation is gone.
    [[nodiscard]] detail::append_region* find_open(region where) noexcept {
        if (where.index() >= regions.size()) [[unlikely]]
            return nullptr;
        auto& region = regions[where.index()];
        return region.state == format::state_word(where.generation(), format::slot_state::live) ? &region : nullptr;
    }
    [[nodiscard]] tl::unexpected<error> gone(region where) const;
};

}  // namespace pmemstream
