#include "tools/salvage/salvage.hpp"

#include "tools/common/progress.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/text.hpp"
#include "tools/inspect/commands.hpp"

#include <nlohmann/json.hpp>
#include <pmemstream/stream.hpp>
#include <string>

namespace pmemstream::tools {

namespace {

constexpr const char* mapping_rule =
    "sequences are given anew from 1, in the order of the old ones over all regions, so the order of any two entries "
    "is what it was";

std::string label_text(const salvaged_region& region) {
    return region.name.empty() ? fmt::format("#{}", region.generation) : region.name;
}

std::uint64_t entries_of(const salvage_report& report) {
    std::uint64_t entries = 0;
    for (const auto& region : report.regions)
        entries += region.entries;
    return entries;
}

nlohmann::ordered_json to_json(const salvaged_region& region) {
    nlohmann::ordered_json object;
    object["name"] = region.name;
    object["old_name"] = region.old_name;
    object["slot"] = region.slot ? nlohmann::ordered_json(*region.slot) : nlohmann::ordered_json();
    object["generation"] = region.generation;
    object["log"] = region.log;
    object["place"] = region.place;
    object["extent"] = region.extent;
    object["extent_bytes"] = region.extent_bytes;
    object["entries"] = region.entries;
    object["batches"] = region.batches;
    object["payload_bytes"] = region.payload_bytes;
    object["old_first"] = region.old_first;
    object["old_last"] = region.old_last;
    object["new_first"] = region.new_first;
    object["new_last"] = region.new_last;
    object["gone"] = region.gone;
    object["left_ranges"] = region.left_ranges;
    object["left_bytes"] = region.left_bytes;
    object["left"] = nlohmann::ordered_json::array();
    for (const auto& range : region.left)
        object["left"].push_back({{"from", range.from}, {"to", range.to}, {"why", range.why}});
    return object;
}

void print_json(const salvage_report& report, output& out) {
    nlohmann::ordered_json object;
    object["stream"] = report.stream;
    object["out"] = report.out;
    object["complete"] = report.all_came_over();
    object["uuid"] = pmemstream::to_string(report.uuid);
    object["block_bytes"] = report.block_bytes;
    object["stream_bytes"] = report.stream_bytes;
    object["superblock_whole"] = report.superblock_whole;
    object["table_whole"] = report.table_whole;
    object["unreadable_bytes"] = report.unreadable_bytes;
    object["entries"] = entries_of(report);
    object["sequences"] = mapping_rule;
    object["regions"] = nlohmann::ordered_json::array();
    for (const auto& region : report.regions)
        object["regions"].push_back(to_json(region));
    object["notes"] = report.notes;
    out.print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_text(const salvage_report& report, output& out) {
    for (const auto& note : report.notes)
        out.print("note: {}\n", printable(note));
    out.print("{:<20} {:>9} {:>11} {:>21} {:>21}\n", "REGION", "ENTRIES", "LEFT", "OLD SEQUENCES", "NEW SEQUENCES");
    for (const auto& region : report.regions)
        out.print("{:<20} {:>9} {:>11} {:>21} {:>21}\n", printable(label_text(region)), region.entries,
                  bytes_for_people(region.left_bytes), fmt::format("{} to {}", region.old_first, region.old_last),
                  fmt::format("{} to {}", region.new_first, region.new_last));
    out.print("{}\n", mapping_rule);
    for (const auto& region : report.regions) {
        for (const auto& range : region.left)
            out.print("left: region {} (generation {}), from {} to {}: {}\n", printable(label_text(region)),
                      region.generation, range.from, range.to, range.why);
        if (region.left_ranges > region.left.size())
            out.print("left: region {}: {} ranges more\n", printable(label_text(region)),
                      region.left_ranges - region.left.size());
        if (region.gone)
            out.print("note: region {}: freed or cleared by a writer while it was copied\n",
                      printable(label_text(region)));
    }
    out.print("{} entries in {}; {}\n", entries_of(report), printable(report.out),
              report.left_any()        ? "not all came over"
              : report.all_came_over() ? "all came over"
                                       : "nothing tells whether all came over");
}

}  // namespace

exit_code salvage(const inspect_options& options, output& out) {
    // So that what is not finished is taken away.
    signals::catch_them();
    progress line;
    const auto report = salvage_stream(options.stream, options.out, [&](std::uint64_t entries, std::uint64_t bytes) {
        line.update(entries, bytes);
        if (signals::look() != 0)
            throw interrupted{signals::seen()};
    });
    progress::clear_line();
    if (options.json)
        print_json(report, out);
    else
        print_text(report, out);
    return report.all_came_over() ? exit_code::fine : exit_code::corrupt;
}

}  // namespace pmemstream::tools
