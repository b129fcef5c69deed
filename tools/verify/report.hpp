#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// Which region something is about.
struct region_label {
    std::string name;  ///< empty when it has none
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;
};

/// Something that docs/format.md does not allow.
struct finding {
    std::string kind;  ///< for programs: see the manual page
    std::optional<region_label> where = {};
    std::uint64_t offset = 0;
    std::string what;
    std::string next;  ///< what to do about it
};

/// So many of one region are told one by one; all are counted.
inline constexpr std::uint64_t findings_per_region_max = 100;

/// What an opening writer would trust: the rows of the table in docs/guarantees.md, and what a writer at work makes of
/// them.
enum class stream_state : std::uint8_t {
    clean,         ///< closed in order
    in_use,        ///< a writer is at work: what was committed when the look began is judged
    recovering,    ///< a writer holds the lock and has not finished opening: what is persisted is judged
    process_died,  ///< the next writer trusts the commit offsets; in pages, and what verifies behind them
    rescan,        ///< the next writer trusts the persisted offsets, and behind them what verifies
    unknown,       ///< an epoch word is damaged, so nobody opens it: what is persisted is judged
};
[[nodiscard]] const char* to_string(stream_state state) noexcept;

/// Whether commit offsets are those of whole entries. Else they may be of any moment.
[[nodiscard]] constexpr bool commit_offsets_hold(stream_state state) noexcept {
    return state == stream_state::clean || state == stream_state::in_use || state == stream_state::process_died;
}

struct region_summary {
    region_label label;
    std::uint64_t extent = 0;
    std::uint64_t extent_bytes = 0;
    std::uint64_t begin = 0;
    std::uint64_t committed_end = 0;
    std::uint64_t persisted_end = 0;
    std::uint64_t judged_end = 0;  ///< behind the last byte that was held to be an entry's
    std::uint64_t entries = 0;
    std::uint64_t fillers = 0;
    std::uint64_t system_entries =
        0;  ///< the library's others: head, marks, times, and types that this tool does not know
    std::uint64_t batches = 0;
    std::uint64_t payload_bytes = 0;
    std::uint64_t bytes = 0;  ///< of all entries, headers and padding included
    std::uint64_t first_sequence = 0;
    std::uint64_t last_sequence = 0;
    std::uint64_t findings = 0;
    /// Of a later version of the format: why it, or the rest of it, is not judged, and from which offset on. No damage.
    std::string unsupported = {};
    std::uint64_t unsupported_from = 0;
    bool clearing = false;  ///< it is being emptied: there is nothing to judge
    bool gone = false;      ///< freed or cleared while it was looked at

    // What the next writer would do to a stream of state `rescan`, or `process_died` in pages.
    std::uint64_t recovered_entries = 0;  ///< found behind the offset that it trusts
    bool torn = false;                    ///< something behind the recovered end is cut
    std::string torn_why = {};
    std::optional<std::uint64_t> whole_entry_behind = {};  ///< offset of an entry further on that verifies
};

struct verify_report {
    std::string stream;
    std::optional<std::array<std::byte, 16>> uuid = {};
    std::uint64_t stream_bytes = 0;
    std::uint64_t block_bytes = 0;
    std::optional<std::uint64_t> epoch = {};
    std::uint64_t committed = 0;
    std::uint64_t persisted = 0;
    stream_state state = stream_state::clean;
    std::vector<region_summary> regions = {};  ///< in order of slots
    std::vector<finding> findings = {};
    std::vector<std::string> notes = {};  ///< no damage, and worth knowing
    std::uint64_t unreadable_bytes = 0;

    [[nodiscard]] bool any_unsupported() const noexcept {
        for (const auto& region : regions)
            if (!region.unsupported.empty())
                return true;
        return false;
    }
    [[nodiscard]] bool torn() const noexcept {
        for (const auto& region : regions)
            if (region.torn)
                return true;
        return false;
    }
};

}  // namespace pmemstream::tools
