#pragma once

#include "tools/verify/entry_walk.hpp"
#include "tools/verify/mark_check.hpp"
#include "tools/verify/report.hpp"
#include "tools/verify/snapshot.hpp"

#include <optional>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// Walks the entries of one region up to where an opening writer would trust them, and gathers what is wrong.
class region_judge {
public:
    region_judge(const media& from, const snapshot& seen, const slot_view& view, std::size_t window_bytes);

    /// The next whole data entry; nothing at the end.
    [[nodiscard]] std::optional<entry_walk::item> next();
    /// Behind the end: what recovery would find there.
    void judge_tail();

    /// Drops it when the region was freed or cleared since the snapshot.
    void add(const char* kind, std::uint64_t offset, std::string what, const char* advice);
    [[nodiscard]] region_summary& summary() noexcept { return summary_; }
    [[nodiscard]] std::vector<finding>& findings() noexcept { return findings_; }

private:
    [[nodiscard]] bool is_gone();
    void step(const entry_walk::item& item);
    void damage(const entry_walk::item& item);
    void look_at_head(const entry_walk::item& item);
    void look_at_persisted_offset();
    void finish();

    const media& from_;
    const snapshot& seen_;
    const slot_view& view_;
    walk_place place_;
    std::size_t window_bytes_;
    entry_walk walk_;
    mark_check marks_;
    region_summary summary_;
    std::vector<finding> findings_;
    bool in_batch_ = false;
    bool persisted_offset_met_ = false;
    bool finished_ = false;
};

}  // namespace pmemstream::tools
