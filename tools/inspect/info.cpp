#include "tools/common/exit_code.hpp"
#include "tools/common/stream_access.hpp"
#include "tools/common/text.hpp"
#include "tools/inspect/commands.hpp"

#include <nlohmann/json.hpp>
#include <pmemstream/stream.hpp>
#include <string>
#include <vector>

namespace pmemstream::tools {

namespace {

std::string state_for_people(const stream_info& info, const writer_status& writer) {
    if (writer.alive)
        return fmt::format("a writer is at work (pid {}, as it says)", writer.pid);
    if (info.clean)
        return info.epoch == 0 ? "no writer has opened it yet" : "closed in order by its last writer";
    return "its last writer ended without closing it; the next one recovers";
}

std::string size_for_people(std::uint64_t bytes) {
    return bytes < 1024 ? fmt::format("{} bytes", bytes) : fmt::format("{} ({} bytes)", bytes_for_people(bytes), bytes);
}

std::string_view sync_for_people(page_sync value) {
    switch (value) {
        case page_sync::automatic:
            return "msync, fdatasync and io_uring, whichever is fastest";
        case page_sync::system_calls:
            return "msync and fdatasync";
        default:
            return "io_uring";
    }
}

}  // namespace

void show_info(const reader& from, const inspect_options& options, output& out) {
    const auto info = from.info();
    const auto writer = from.writer();
    if (options.json) {
        nlohmann::ordered_json object;
        object["file"] = info.file.string();
        object["format_version"] = info.format_version;
        object["uuid"] = to_string(info.uuid);
        object["creation_ns"] = info.creation_ns;
        object["stream_bytes"] = info.stream_bytes;
        object["stream_bytes_max"] = info.stream_bytes_max;
        object["lineage"] = fmt::format("{:016x}", info.lineage);
        object["block_bytes"] = info.block_bytes;
        object["free_bytes"] = info.free_bytes;
        object["largest_free_bytes"] = info.largest_free_bytes;
        object["regions"] = info.regions;
        object["region_slots"] = info.region_slots;
        object["granularity"] = to_string(info.granularity);
        object["granularity_forced"] = info.granularity_forced;
        object["synced_by"] = info.synced_by ? nlohmann::ordered_json(to_string(*info.synced_by)) : nullptr;
        object["epoch"] = info.epoch;
        object["clean"] = info.clean;
        object["committed"] = to_uint(info.committed);
        object["persisted"] = to_uint(info.persisted);
        object["writer_alive"] = writer.alive;
        object["writer_pid"] = writer.pid;
        object["control"] = to_string(from.control());
        out.print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return;
    }
    const auto line = [&out](std::string_view what, std::string_view value) { out.print("{:<14}{}\n", what, value); };
    line("file", printable(info.file.string()));
    line("format", fmt::format("version {}", info.format_version));
    line("uuid", to_string(info.uuid));
    line("created", time_for_people(info.creation_ns));
    line("lineage", fmt::format("{:016x}", info.lineage));
    line("size", size_for_people(info.stream_bytes));
    line("may grow to", bytes_for_people(info.stream_bytes_max));
    line("blocks of", size_for_people(info.block_bytes));
    line("free", fmt::format("{}, in a row at most {}", bytes_for_people(info.free_bytes),
                             bytes_for_people(info.largest_free_bytes)));
    line("regions", fmt::format("{} (the table has {} slots and grows)", info.regions, info.region_slots));
    line("granularity", fmt::format("{}{}", to_string(info.granularity), info.granularity_forced ? ", forced" : ""));
    if (info.synced_by)
        line("synced by", sync_for_people(*info.synced_by));
    line("state", state_for_people(info, writer));
    line("epoch", fmt::format("{}", info.epoch));
    line("committed", fmt::format("up to sequence {}", to_uint(info.committed)));
    line("persisted", fmt::format("up to sequence {}", to_uint(info.persisted)));
    line("control file", to_string(from.control()));
    // Of what is damaged verify tells.
    const auto regions = from.regions();
    for (const auto& region : regions ? *regions : std::vector<region_info>()) {
        const auto attributes = from.attributes(region.handle);
        if (!attributes || *attributes == region_attributes())
            continue;
        line("region", printable(label_of(region)));
        print_attributes(*attributes, "              ", out);
    }
}

}  // namespace pmemstream::tools
