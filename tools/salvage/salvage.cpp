#include "tools/salvage/salvage.hpp"

#include "tools/salvage/destination.hpp"
#include "tools/salvage/region_source.hpp"
#include "tools/salvage/survey.hpp"

#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace pmemstream::tools {

namespace {

salvage_report begin_report(const media& from, const std::filesystem::path& out, const survey& seen) {
    salvage_report report;
    report.stream = from.name();
    report.out = out.string();
    report.uuid = seen.uuid;
    report.block_bytes = seen.block_bytes;
    report.superblock_whole = seen.superblock_whole;
    report.table_whole = seen.table_whole;
    report.notes = seen.notes;
    for (const auto& region : seen.regions)
        report.regions.push_back({.name = {},
                                  .old_name = region.name.value_or(""),
                                  .slot = region.slot,
                                  .generation = region.generation,
                                  .log = region.head ? region.head->log_id : 0,
                                  .place = region.head ? region.head->place : 0,
                                  .extent = region.extent,
                                  .extent_bytes = region.extent_bytes});
    return report;
}

/// Counts sequences, which come in order. Those of what a recovery cut were given a second time.
class sequence_count {
public:
    explicit sequence_count(std::uint64_t max) : max_(max) {}
    void add(const std::vector<entry_walk::item>& unit) {
        for (const auto& item : unit)
            if (item.sequence() > last_ && item.sequence() <= max_) {
                last_ = item.sequence();
                ++count_;
            }
    }
    [[nodiscard]] bool is_full() const { return count_ == max_; }

private:
    std::uint64_t max_;
    std::uint64_t last_ = 0;
    std::uint64_t count_ = 0;
};

}  // namespace

salvage_report salvage_stream(const std::filesystem::path& file, const std::filesystem::path& out,
                              const std::function<void(std::uint64_t entries, std::uint64_t bytes)>& progress) {
    const media from(file);
    const auto seen = look_over(from);
    auto report = begin_report(from, out, seen);
    destination to(out, seen, report);

    std::vector<region_source> sources;
    sources.reserve(seen.regions.size());
    using head = std::pair<std::uint64_t, std::size_t>;  // sequence, region
    std::priority_queue<head, std::vector<head>, std::greater<>> heads;
    const auto advance = [&](std::size_t region) {
        if (sources[region].next())
            heads.emplace(sources[region].sequence(), region);
    };
    const std::size_t window_bytes = window_bytes_for(seen.regions.size());
    for (std::size_t i = 0; i < seen.regions.size(); ++i) {
        sources.emplace_back(from, seen, seen.regions[i], window_bytes, report.regions[i]);
        advance(i);
    }
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    sequence_count ever(seen.committed.value_or(0));
    for (std::uint64_t units = 0; !heads.empty(); ++units) {
        const std::size_t region = heads.top().second;
        heads.pop();
        auto& source = sources[region];
        if (to.append(region, from, source)) {
            ever.add(source.unit());
            entries += source.unit().size();
            bytes += source.unit().back().end() - source.unit().front().offset;
        } else {
            source.leave_unit();
        }
        advance(region);
        if (units % 1024 == 0)
            progress(entries, bytes);
    }
    to.finish();
    report.unreadable_bytes = from.unreadable_bytes();
    const bool as_many_as_ever = !seen.cut_short && seen.committed && ever.is_full();
    report.none_unknown = seen.all_regions_known || as_many_as_ever;
    if (!report.none_unknown)
        report.notes.emplace_back(
            "nothing tells which regions the lost part of the table named: there may have been entries of which "
            "none is left");
    return report;
}

}  // namespace pmemstream::tools
