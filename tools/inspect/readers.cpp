#include "tools/common/exit_code.hpp"
#include "tools/common/stream_access.hpp"
#include "tools/common/text.hpp"
#include "tools/inspect/commands.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

namespace pmemstream::tools {

namespace {

/// A registered cursor, and what can be told about its place.
struct row {
    registered_reader reader;
    std::string region;  // empty: all
    bool gone = false;   // the region is
    std::uint64_t lag = 0;
};

row look_at(const reader& from, registered_reader reader) {
    row r{std::move(reader), {}, false, 0};
    // Anybody who may write the control file may write nonsense into it: nothing here trusts the position.
    if (r.reader.all_regions) {
        const std::uint64_t newest = to_uint(from.committed());
        r.lag = newest - std::min(newest, r.reader.position);
        return r;
    }
    const auto info = from.describe(r.reader.where);
    r.gone = !info;
    if (info) {
        r.region = label_of(*info);
        const std::uint64_t end = to_uint(info->committed_end);
        r.lag = end - std::clamp(r.reader.position, to_uint(info->begin), end);
    } else {
        r.region = fmt::format("#{}", r.reader.where.generation());
    }
    return r;
}

}  // namespace

void show_readers(const reader& from, const inspect_options& options, output& out) {
    const auto only =
        options.region ? std::optional(need_region(from, *options.region).handle) : std::optional<region>();
    const auto control = from.control();
    const auto writer = from.writer();
    std::vector<row> rows;
    for (auto& registered : need(from.registered()))
        if (!only || (!registered.all_regions && registered.where == *only))
            rows.push_back(look_at(from, std::move(registered)));
    if (options.json) {
        nlohmann::ordered_json object;
        object["control"] = to_string(control);
        object["writer_alive"] = writer.alive;
        object["readers"] = nlohmann::ordered_json::array();
        for (const auto& r : rows) {
            nlohmann::ordered_json reader;
            reader["slot"] = r.reader.slot;
            reader["pid"] = r.reader.pid;
            reader["name"] = r.reader.name;
            reader["alive"] = r.reader.alive;
            reader["asleep"] = r.reader.asleep;
            reader["region"] = r.reader.all_regions ? nlohmann::ordered_json() : nlohmann::ordered_json(r.region);
            reader["region_gone"] = r.gone;
            reader["position"] = r.reader.position;
            reader[r.reader.all_regions ? "lag_sequences" : "lag_bytes"] = r.lag;
            object["readers"].push_back(std::move(reader));
        }
        out.print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return;
    }
    out.print("control file: {}; writer: {}\n", to_string(control), writer.alive ? "alive" : "none");
    if (rows.empty()) {
        out.print("no cursor is registered\n");
        return;
    }
    out.print("{:>4} {:>8} {:<28} {:<8} {:<15} {}\n", "SLOT", "PID", "NAME", "STATE", "REGION", "BEHIND");
    for (const auto& r : rows) {
        const std::string_view state = !r.reader.alive ? "dead" : r.reader.asleep ? "asleep" : "awake";
        const std::string behind = r.gone                 ? std::string("(freed)")
                                   : r.reader.all_regions ? fmt::format("{} entries", r.lag)
                                                          : bytes_for_people(r.lag);
        out.print("{:>4} {:>8} {:<28} {:<8} {:<15} {}\n", r.reader.slot, r.reader.pid, printable(r.reader.name), state,
                  r.reader.all_regions ? "(all)" : printable(r.region), behind);
    }
}

}  // namespace pmemstream::tools
