#pragma once

#include "tools/salvage/report.hpp"
#include "tools/salvage/survey.hpp"
#include "tools/verify/entry_walk.hpp"

#include <optional>
#include <vector>

namespace pmemstream::tools {

/// The entries of one region that verify, as units that are to be appended whole: an entry, or all of a batch. Writes
/// down what lies between them.
class region_source {
public:
    region_source(const media& from, const survey& seen, const found_region& region, std::size_t window_bytes,
                  salvaged_region& report);

    /// False at the end.
    bool next();
    [[nodiscard]] const std::vector<entry_walk::item>& unit() const noexcept { return unit_; }
    [[nodiscard]] std::uint64_t sequence() const noexcept { return unit_.front().sequence(); }
    [[nodiscard]] std::uint32_t crc_seed() const noexcept { return crc_seed_; }
    /// It did not verify any more when it was copied.
    void leave_unit();

private:
    bool open_range();
    void cross_damage(const entry_walk::item& damaged);
    void end_range_at(const entry_walk::item& damaged);
    /// Whether what follows a gap belongs to a batch of which the gap took a part.
    [[nodiscard]] bool goes_on_in_batch(const entry_walk::item& damaged, std::uint64_t gap_end,
                                        const entry_walk::item& next) const;
    void leave_batch(std::uint64_t end);
    [[nodiscard]] bool is_gone();

    const media& from_;
    const survey& seen_;
    const found_region& region_;
    std::size_t window_bytes_;
    salvaged_region& report_;
    std::uint32_t crc_seed_;
    std::size_t range_ = 0;
    std::optional<entry_walk> walk_;
    std::optional<entry_walk::item> last_;  // the one before the position
    bool resumes_ = false;                  // the range begins behind blocks of a younger region
    std::optional<std::uint64_t> broken_;   // begin of what is known of a batch that is not whole
    std::vector<entry_walk::item> unit_;
};

}  // namespace pmemstream::tools
