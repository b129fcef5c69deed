#pragma once

#include "src/format/layout.hpp"
#include "src/format/rescan.hpp"
#include "tools/verify/entry_walk.hpp"
#include "tools/verify/media.hpp"
#include "tools/verify/report.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// A slot in use that passed its checks, as it was when the look began.
struct slot_view {
    std::uint32_t index = 0;
    std::uint64_t offset = 0;  ///< of the slot
    format::region_slot slot{};

    [[nodiscard]] std::uint64_t generation() const noexcept { return format::generation_of(slot.cold.state); }
    [[nodiscard]] bool live() const noexcept { return format::state_of(slot.cold.state) == format::slot_state::live; }
    [[nodiscard]] std::uint64_t begin() const noexcept {
        return slot.cold.extent_offset + sizeof(format::extent_header);
    }
    [[nodiscard]] std::uint64_t end() const noexcept { return slot.cold.extent_offset + slot.cold.extent_bytes; }
    [[nodiscard]] region_label label() const;
};

/// A slot as it is in the file, all of one moment even beside a live writer: its persisted offset is not ahead of its
/// commit offset, its sequences are not behind its offsets.
[[nodiscard]] format::region_slot read_slot(const media& from, std::uint64_t offset);

/// Superblock, header and table of one moment, and what is wrong with them.
struct snapshot {
    format::superblock superblock{};
    format::identity_line identity{};
    format::feature_line features{};
    std::optional<std::uint64_t> epoch = {};  ///< none where its word is damaged
    std::uint64_t stream_bytes = 0;
    std::uint64_t committed = 0;
    std::uint64_t persisted = 0;
    std::uint64_t newest = 0;  ///< no region and no line tells of a later sequence
    stream_state state = stream_state::clean;
    std::vector<slot_view> slots = {};
    std::vector<finding> findings = {};
    std::vector<std::string> notes = {};
    bool own = false;       ///< the file is the one that the last writer had, and the machine was not restarted since
    bool readable = false;  ///< there is a superblock to go by

    /// Whether a writer that opens it looks for entries behind the offsets that it trusts.
    [[nodiscard]] bool judges_tails() const noexcept {
        return state == stream_state::rescan || (state == stream_state::process_died && format::wrote_pages(identity));
    }
    /// Whether it goes by a region's persisted offset: not only in a rescan, but also where what the last writer left in pages
    /// is of two moments, the commit offset of the earlier.
    [[nodiscard]] bool rescans(const format::region_slot& slot) const noexcept {
        return state == stream_state::rescan ||
               (judges_tails() && format::persisted_offset_of(slot.persist.persisted) > slot.commit.commit_offset);
    }
    /// Nothing where its epoch cannot be.
    [[nodiscard]] std::optional<persisted_place> persisted_of(const format::region_slot& slot) const noexcept;
};

/// Beside a live writer it is taken again while what it shows does not fit together: two looks at two slots are not of
/// one moment. Ends the tool when the file is no stream.
[[nodiscard]] snapshot take_snapshot(const media& from);

/// The identity line is that of `before`: no writer came or went since.
[[nodiscard]] bool same_writer(const media& from, const snapshot& before);

/// The words of an error without the name of the file before them.
[[nodiscard]] std::string without_name(const std::string& message, const std::string& name);

inline constexpr const char* advice_metadata =
    "keep the file as it is, and copy what verifies to a new stream: pmemstream-inspect salvage";
/// For a copy whose parts are of different moments. Readers refuse it, so it is a finding all the same.
inline constexpr const char* advice_copy =
    "the file is a copy: a writer that opens it recovers it as after power loss, which keeps what is persisted and "
    "what "
    "verifies behind that; or copy what verifies to a new stream: pmemstream-inspect salvage";

}  // namespace pmemstream::tools
