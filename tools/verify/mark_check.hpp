#pragma once

#include "src/format/system_entry.hpp"
#include "tools/verify/entry_walk.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pmemstream::tools {

/// Whether the marks of a region agree with one another and with the entries between them. Their pointers are hints, which
/// nobody has to hold: they are not looked at.
class mark_check {
public:
    /// `first_index`: of the region's first entry, where the slot tells.
    explicit mark_check(std::optional<std::uint64_t> first_index) noexcept : index_(first_index) {}

    /// Any entry but a mark.
    void count(const entry_walk::item& item);
    /// A mark behind an entry of `sequence`.
    void look_at(const entry_walk::item& item, std::span<const std::byte> payload, std::uint64_t sequence);
    /// Behind damage nobody knows how many entries there were: the next mark tells.
    void lose_count() noexcept { index_.reset(); }
    [[nodiscard]] std::vector<std::string> take_contradictions() noexcept { return std::exchange(found_, {}); }

private:
    std::optional<std::uint64_t> index_;  // of the next entry
    std::uint64_t time_us_ = 0;
    std::uint64_t next_sequence_min_ = 0;
    std::vector<std::string> found_;
};

}  // namespace pmemstream::tools
