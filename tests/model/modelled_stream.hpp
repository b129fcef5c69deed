#pragma once

#include "tests/support/small_stream.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::test {

inline constexpr std::uint64_t extent_header_bytes = 64;

/// What is done to a stream. The numbers mean something whatever they are, taken modulo what there is at that moment;
/// so every sequence of steps is one that a program may take, also after RapidCheck took some away.
enum class step_kind : std::uint8_t {
    append,
    batch,
    reserve,
    publish,
    abandon,
    allocate,
    free,
    clear,
    reopen,
    process_dies,   ///< the next writer finds an unclean stream of this boot and file
    power_is_lost,  ///< the next writer has to rescan; all bytes are there
    tail_is_torn,   ///< the same, and an entry that is not persisted is damaged
    follow,         ///< cursors that live long go on
    compare,        ///< everything, with fresh cursors
    count
};
[[nodiscard]] const char* to_string(step_kind kind) noexcept;

struct step {
    step_kind kind = step_kind::append;
    std::uint32_t which = 0;
    std::uint32_t size = 0;
    std::uint32_t more = 0;
};

/// What the steps of a run came to, for those who want to know that a test tests something.
struct step_counts {
    std::uint64_t steps = 0, entries = 0, fillers = 0, full = 0, refused = 0, exhausted = 0, allocated = 0, freed = 0,
                  cleared = 0, openings = 0, rescans = 0, cut_entries = 0, compared = 0, followed = 0, regions_most = 0;
};

/// A stream, and beside it what it should hold, in plain vectors. Throws std::runtime_error where the two differ.
class modelled_stream {
public:
    modelled_stream(std::uint64_t stream_bytes, std::uint64_t block_bytes, step_counts& counts);
    ~modelled_stream();

    void take(const step& what);
    /// Compares, closes, opens, compares.
    void end();

private:
    struct model_entry {
        std::vector<std::byte> payload;
        std::uint64_t sequence = 0;
        std::uint64_t batch = 0;  ///< entries that came by one append_batch share it
    };
    struct model_claim {
        enum class state : std::uint8_t { open, published, abandoned };
        std::vector<std::byte> payload;
        reservation held;
        state now = state::open;
    };
    struct model_region {
        region handle;
        std::string name;
        std::uint64_t size_bytes = 0;
        std::uint64_t used_bytes = 0;     ///< committed
        std::uint64_t claimed_bytes = 0;  ///< with reservations that are not committed yet
        std::vector<model_entry> entries;
        std::vector<model_claim> claims;
        std::uint64_t first = 0;
    };
    struct live_cursor {
        region where;
        cursor at;
        std::size_t shown = 0;
    };

    void open(recovery_report::state expected);
    void append(const step& what);
    void append_batch(const step& what);
    void reserve(const step& what);
    void settle_claim(const step& what, bool publish);
    void allocate(const step& what);
    [[nodiscard]] bool may_go(const model_region& region, const step& what, const std::string& code);
    void free(const step& what);
    void clear(const step& what);
    void crash(const step& what);
    void tear(const step& what, std::vector<std::byte>& image);
    void drop_claims();
    void follow();
    void compare();
    void compare_regions(const reader& from) const;
    void compare_entries(const reader& from);
    void compare_space(const reader& from) const;

    [[nodiscard]] std::vector<std::byte> payload_for(std::uint32_t size);
    [[nodiscard]] model_region* any(std::uint32_t which);
    void expect_refusal(const std::string& code, const std::string& expected);
    std::uint64_t given(std::uint64_t sequence);

    small_stream stream_;
    step_counts& counts_;
    std::uint64_t block_bytes_;
    std::uint64_t metadata_bytes_;
    std::vector<model_region> regions_;  // in order of allocation
    std::unique_ptr<writer> writer_;
    std::optional<reader> reader_;  // of this file, for the cursors that live long
    std::optional<merged_cursor> all_;
    std::vector<live_cursor> cursors_;
    std::uint64_t all_last_ = 0;
    std::uint64_t newest_ = 0;
    std::uint64_t newest_generation_ = 0;
    std::uint64_t numbers_ = 0;
    std::uint64_t batches_ = 0;
};

}  // namespace pmemstream::test
