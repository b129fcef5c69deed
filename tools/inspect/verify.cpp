#include "tools/verify/verify.hpp"

#include "tools/common/progress.hpp"
#include "tools/common/text.hpp"
#include "tools/inspect/commands.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <pmemstream/stream.hpp>
#include <string>

namespace pmemstream::tools {

namespace {

std::string label_text(const region_label& label) {
    return label.name.empty() ? fmt::format("#{}", label.generation) : label.name;
}

struct totals {
    std::uint64_t entries = 0;
    std::uint64_t fillers = 0;
    std::uint64_t system_entries = 0;
    std::uint64_t batches = 0;
    std::uint64_t payload_bytes = 0;
    std::uint64_t bytes = 0;
    std::uint64_t first_sequence = 0;
    std::uint64_t last_sequence = 0;
};

totals add_up(const verify_report& report) {
    totals sum;
    for (const auto& region : report.regions) {
        sum.entries += region.entries;
        sum.fillers += region.fillers;
        sum.system_entries += region.system_entries;
        sum.batches += region.batches;
        sum.payload_bytes += region.payload_bytes;
        sum.bytes += region.bytes;
        if (region.entries == 0)
            continue;
        if (sum.first_sequence == 0 || region.first_sequence < sum.first_sequence)
            sum.first_sequence = region.first_sequence;
        sum.last_sequence = std::max(sum.last_sequence, region.last_sequence);
    }
    return sum;
}

const char* verdict_of(const verify_report& report) {
    return !report.findings.empty()   ? "corrupt"
           : report.any_unsupported() ? "unsupported"
           : report.torn()            ? "torn_tail"
                                      : "fine";
}

template <class Counts>
void put_counts(nlohmann::ordered_json& object, const Counts& from) {
    object["entries"] = from.entries;
    object["fillers"] = from.fillers;
    object["system_entries"] = from.system_entries;
    object["batches"] = from.batches;
    object["payload_bytes"] = from.payload_bytes;
    object["bytes"] = from.bytes;
    object["first_sequence"] = from.first_sequence;
    object["last_sequence"] = from.last_sequence;
}

nlohmann::ordered_json to_json(const region_summary& region) {
    nlohmann::ordered_json object;
    object["region"] = label_text(region.label);
    object["name"] = region.label.name;
    object["slot"] = region.label.slot;
    object["generation"] = region.label.generation;
    object["state"] = region.clearing               ? "clearing"
                      : region.gone                 ? "gone"
                      : region.findings > 0         ? "damaged"
                      : !region.unsupported.empty() ? "unsupported"
                      : region.torn                 ? "torn_tail"
                                                    : "fine";
    object["findings"] = region.findings;
    object["extent"] = region.extent;
    object["extent_bytes"] = region.extent_bytes;
    object["begin"] = region.begin;
    object["committed_end"] = region.committed_end;
    object["persisted_end"] = region.persisted_end;
    object["judged_end"] = region.judged_end;
    put_counts(object, region);
    object["recovered_entries"] = region.recovered_entries;
    object["unsupported"] =
        region.unsupported.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(region.unsupported);
    object["unsupported_from"] =
        region.unsupported.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(region.unsupported_from);
    object["torn"] = region.torn ? nlohmann::ordered_json(region.torn_why) : nlohmann::ordered_json();
    object["whole_entry_behind"] =
        region.whole_entry_behind ? nlohmann::ordered_json(*region.whole_entry_behind) : nlohmann::ordered_json();
    return object;
}

nlohmann::ordered_json to_json(const finding& found) {
    nlohmann::ordered_json object;
    object["kind"] = found.kind;
    object["region"] = found.where ? nlohmann::ordered_json(label_text(*found.where)) : nlohmann::ordered_json();
    object["slot"] = found.where ? nlohmann::ordered_json(found.where->slot) : nlohmann::ordered_json();
    object["generation"] = found.where ? nlohmann::ordered_json(found.where->generation) : nlohmann::ordered_json();
    object["offset"] = found.offset;
    object["what"] = found.what;
    object["next"] = found.next;
    return object;
}

void print_json(const verify_report& report, output& out) {
    nlohmann::ordered_json object;
    object["stream"] = report.stream;
    object["verdict"] = verdict_of(report);
    object["state"] = to_string(report.state);
    object["uuid"] =
        report.uuid ? nlohmann::ordered_json(pmemstream::to_string(*report.uuid)) : nlohmann::ordered_json();
    object["stream_bytes"] = report.stream_bytes;
    object["block_bytes"] = report.block_bytes;
    object["epoch"] = report.epoch ? nlohmann::ordered_json(*report.epoch) : nlohmann::ordered_json();
    object["committed"] = report.committed;
    object["persisted"] = report.persisted;
    object["unreadable_bytes"] = report.unreadable_bytes;
    put_counts(object["totals"], add_up(report));
    object["regions"] = nlohmann::ordered_json::array();
    for (const auto& region : report.regions)
        object["regions"].push_back(to_json(region));
    object["findings"] = nlohmann::ordered_json::array();
    for (const auto& found : report.findings)
        object["findings"].push_back(to_json(found));
    object["notes"] = report.notes;
    out.print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

const char* state_for_people(stream_state state) {
    switch (state) {
        case stream_state::clean:
            return "closed in order: the next writer trusts the commit offsets";
        case stream_state::in_use:
            return "a writer is at work: judged is what was committed when this look began";
        case stream_state::recovering:
            return "a writer is opening it: judged is what is persisted";
        case stream_state::process_died:
            return "its writer died: the next one trusts the commit offsets (and, where pages are synced, what it left "
                   "whole behind them)";
        case stream_state::rescan:
            return "power loss, or a copy: the next writer trusts the persisted offsets, then what verifies behind "
                   "them";
        case stream_state::unknown:
            return "an epoch word of the header is damaged, so nobody opens it: judged is what is persisted";
    }
    return "";
}

void print_region(const region_summary& region, output& out) {
    const std::string label = printable(label_text(region.label));
    if (region.clearing || region.gone) {
        out.print("{:<20} {}\n", label,
                  region.gone ? "freed or cleared meanwhile" : "being cleared: the next writer empties it");
        return;
    }
    out.print("{:<20} {:>9} {:>7} {:>7} {:>10} {:>10} {:>10}\n", label, region.entries, region.fillers, region.batches,
              bytes_for_people(region.bytes), region.first_sequence, region.last_sequence);
}

void print_unsupported(const region_summary& region, output& out) {
    if (!region.unsupported.empty())
        out.print("note: region {}: from offset {} on it is not judged: {}\n", printable(label_text(region.label)),
                  region.unsupported_from, region.unsupported);
}

void print_recovery(const region_summary& region, stream_state state, output& out) {
    const bool to_commit = commit_offsets_hold(state) && region.committed_end >= region.persisted_end;
    if (region.recovered_entries > 0)
        out.print("note: region {}: the next writer finds {} entries behind the {} offset {}\n",
                  printable(label_text(region.label)), region.recovered_entries, to_commit ? "commit" : "persisted",
                  to_commit ? region.committed_end : region.persisted_end);
    if (region.torn)
        out.print("note: region {}: torn tail, not corruption: the next writer cuts at {} ({})\n",
                  printable(label_text(region.label)), region.judged_end, region.torn_why);
    if (region.whole_entry_behind)
        out.print(
            "note: region {}: the entry at {} verifies and will be cut with the rest; to keep it, copy the file\n"
            "      first, and salvage from the copy\n",
            printable(label_text(region.label)), *region.whole_entry_behind);
}

void print_text(const verify_report& report, output& out) {
    if (report.uuid) {
        out.print("state: {}\n\n", state_for_people(report.state));
        out.print("{:<20} {:>9} {:>7} {:>7} {:>10} {:>10} {:>10}\n", "REGION", "ENTRIES", "FILLERS", "BATCHES", "BYTES",
                  "FIRST", "LAST");
        for (const auto& region : report.regions)
            print_region(region, out);
        const auto sum = add_up(report);
        out.print("{:<20} {:>9} {:>7} {:>7} {:>10} {:>10} {:>10}\n\n", "(all)", sum.entries, sum.fillers, sum.batches,
                  bytes_for_people(sum.bytes), sum.first_sequence, sum.last_sequence);
        for (const auto& region : report.regions) {
            print_unsupported(region, out);
            print_recovery(region, report.state, out);
        }
        for (const auto& note : report.notes)
            out.print("note: {}\n", printable(note));
    }
    for (const auto& found : report.findings) {
        out.print("corrupt: ");
        if (found.where)
            out.print("region {} (slot {}, generation {}): ", printable(label_text(*found.where)), found.where->slot,
                      found.where->generation);
        out.print("{} at offset {}: {}\n  next: {}\n", found.kind, found.offset, printable(found.what), found.next);
    }
    for (const auto& region : report.regions)
        if (const auto told = std::min<std::uint64_t>(region.findings, findings_per_region_max); region.findings > told)
            out.print("corrupt: region {}: {} findings more\n", printable(label_text(region.label)),
                      region.findings - told);
    if (report.unreadable_bytes > 0)
        out.print("{} bytes could not be read: the medium failed, or the file was cut short meanwhile\n",
                  report.unreadable_bytes);
    out.print("{}\n", !report.findings.empty()   ? "corrupt"
                      : report.any_unsupported() ? "of a later version of the format, in part"
                      : report.torn()            ? "fine, but for a torn tail"
                                                 : "fine");
}

}  // namespace

exit_code show_verification(const inspect_options& options, output& out) {
    progress line;
    const verify_options how{.region = options.region, .progress = [&](std::uint64_t entries, std::uint64_t bytes) {
                                 line.update(entries, bytes);
                             }};
    const auto report = verify_stream(options.stream, how);
    progress::clear_line();
    if (options.json)
        print_json(report, out);
    else
        print_text(report, out);
    if (report.unreadable_bytes > 0)
        return exit_code::io;
    if (!report.findings.empty())
        return exit_code::corrupt;
    return report.any_unsupported() ? exit_code::not_a_stream : exit_code::fine;
}

}  // namespace pmemstream::tools
