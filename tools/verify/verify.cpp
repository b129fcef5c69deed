#include "tools/verify/verify.hpp"

#include "src/format/validate.hpp"
#include "tools/common/exit_code.hpp"
#include "tools/verify/region_judge.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <queue>
#include <vector>

namespace pmemstream::tools {

namespace {

bool is_meant(const region_label& label, const std::string& wanted) {
    return label.name.empty() ? wanted == fmt::format("#{}", label.generation) : wanted == label.name;
}

class verification {
public:
    verification(const media& from, const verify_options& options)
        : from_(from), options_(options), seen_(take_snapshot(from)) {}

    verify_report run() {
        describe();
        if (!seen_.readable)
            return std::move(report_);
        pick_regions();
        walk();
        check_newest();
        for (auto& region : regions_) {
            region->judge_tail();
            report_.regions.push_back(region->summary());
            std::ranges::move(region->findings(), std::back_inserter(report_.findings));
        }
        for (const auto& view : seen_.slots)
            if (!options_.region && (!view.live() || format::unknown_slot_flags(view.slot.cold) != 0))
                report_.regions.push_back(not_judged(view));
        std::ranges::sort(report_.regions, {}, [](const region_summary& r) { return r.label.slot; });
        report_.unreadable_bytes = from_.unreadable_bytes();
        return std::move(report_);
    }

    [[nodiscard]] bool same_writer_still() const { return !seen_.readable || same_writer(from_, seen_); }

private:
    void describe() {
        report_.stream = from_.name();
        report_.findings = seen_.findings;
        report_.notes = seen_.notes;
        if (!seen_.readable)
            return;
        report_.uuid = seen_.superblock.uuid;
        report_.block_bytes = seen_.superblock.block_bytes;
        report_.stream_bytes = seen_.stream_bytes;
        report_.epoch = seen_.epoch;
        report_.committed = seen_.committed;
        report_.persisted = seen_.persisted;
        report_.state = seen_.state;
    }

    static region_summary not_judged(const slot_view& view) {
        region_summary summary;
        summary.label = view.label();
        summary.extent = view.slot.cold.extent_offset;
        summary.extent_bytes = view.slot.cold.extent_bytes;
        summary.begin = summary.committed_end = summary.persisted_end = summary.judged_end = view.begin();
        summary.clearing = !view.live();
        if (const std::uint32_t unknown = format::unknown_slot_flags(view.slot.cold); unknown != 0) {
            summary.unsupported = fmt::format("its slot has flags that this tool would have to know: {:#x}", unknown);
            summary.unsupported_from = view.slot.cold.extent_offset;
        }
        return summary;
    }

    void pick_regions() {
        std::vector<const slot_view*> chosen;
        for (const auto& view : seen_.slots)
            if (view.live() && format::unknown_slot_flags(view.slot.cold) == 0 &&
                (!options_.region || is_meant(view.label(), *options_.region)))
                chosen.push_back(&view);
        // Where the table is damaged, the region may be what is damaged.
        if (chosen.empty() && options_.region && seen_.findings.empty())
            fail(exit_code::io, "{}: no region \"{}\"; pmemstream-inspect regions lists them", from_.name(),
                 *options_.region);
        const std::size_t window_bytes = window_bytes_for(chosen.size());
        for (const auto* const view : chosen)
            regions_.push_back(std::make_unique<region_judge>(from_, seen_, *view, window_bytes));
    }

    /// All regions in the order of sequences: so an entry with the sequence of another comes right behind it.
    void walk() {
        struct head {
            std::uint64_t sequence;
            std::uint64_t offset;
            std::size_t region;
            bool operator>(const head& other) const noexcept { return sequence > other.sequence; }
        };
        std::priority_queue<head, std::vector<head>, std::greater<>> heads;
        const auto advance = [&](std::size_t region) {
            if (const auto item = regions_[region]->next())
                heads.push({item->sequence(), item->offset, region});
        };
        for (std::size_t i = 0; i < regions_.size(); ++i)
            advance(i);
        head last{0, 0, 0};
        std::uint64_t bytes = 0;
        for (std::uint64_t entries = 0; !heads.empty(); ++entries) {
            const head now = heads.top();
            heads.pop();
            auto& region = *regions_[now.region];
            if (now.sequence == last.sequence && entries > 0)
                region.add("sequences", now.offset,
                           fmt::format("sequence {} is also that of the entry at {} in region slot {}", now.sequence,
                                       last.offset, regions_[last.region]->summary().label.slot),
                           advice_metadata);
            if (seen_.state == stream_state::clean && now.sequence > seen_.committed)
                region.add("sequences", now.offset,
                           fmt::format("sequence {} is above the stream's committed sequence {}", now.sequence,
                                       seen_.committed),
                           advice_metadata);
            last = now;
            const std::uint64_t before = region.summary().bytes;
            advance(now.region);
            bytes += region.summary().bytes - before;
            if (options_.progress && entries % 4096 == 0)
                options_.progress(entries, bytes);
        }
    }

    /// The stream's committed sequence follows each commit of a region, so it can lack one commit, of one region. In pages
    /// that are left it may be of an earlier moment than the regions.
    void check_newest() {
        if (!commit_offsets_hold(seen_.state) || seen_.state == stream_state::clean || seen_.judges_tails())
            return;
        std::vector<region_judge*> above;
        for (auto& region : regions_)
            if (region->summary().last_sequence > seen_.committed)
                above.push_back(region.get());
        if (above.size() < 2)
            return;
        for (auto* const region : above)
            region->add("sequences", region->summary().judged_end,
                        fmt::format("sequence {} is above the stream's committed sequence {}, as in another region",
                                    region->summary().last_sequence, seen_.committed),
                        advice_metadata);
    }

    const media& from_;
    const verify_options& options_;
    const snapshot seen_;
    verify_report report_;
    std::vector<std::unique_ptr<region_judge>> regions_;
};

}  // namespace

verify_report verify_stream(const std::filesystem::path& file, const verify_options& options) {
    // A writer that opens the stream meanwhile may cut what was to be judged: then it is judged anew.
    constexpr int tries = 4;
    const media from(file);
    for (int i = 1;; ++i) {
        verification verify(from, options);
        auto report = verify.run();
        if (i == tries || (report.findings.empty() && !report.torn()) || verify.same_writer_still())
            return report;
    }
}

}  // namespace pmemstream::tools
