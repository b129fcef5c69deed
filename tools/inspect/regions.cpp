#include "tools/common/exit_code.hpp"
#include "tools/common/stream_access.hpp"
#include "tools/common/text.hpp"
#include "tools/inspect/commands.hpp"
#include "tools/inspect/picture.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace pmemstream::tools {

namespace {

/// Of a region that a newer library made, which this one cannot read, none.
region_attributes attributes_of(const reader& from, const region_info& region) {
    return region.unknown_flags == 0 ? need(from.attributes(region.handle)) : region_attributes();
}

nlohmann::ordered_json to_json(const region_info& region, const region_attributes& attributes) {
    nlohmann::ordered_json object;
    object["region"] = label_of(region);
    object["name"] = region.name;
    object["index"] = region.handle.index();
    object["generation"] = region.handle.generation();
    object["size_bytes"] = region.size_bytes;
    object["used_bytes"] = region.used_bytes;
    object["free_bytes"] = region.free_bytes();
    object["extent"] = to_uint(region.extent);
    object["extent_bytes"] = region.extent_bytes;
    object["begin"] = to_uint(region.begin);
    object["committed_end"] = to_uint(region.committed_end);
    object["persisted_end"] = to_uint(region.persisted_end);
    object["first"] = to_uint(region.first);
    object["committed"] = to_uint(region.committed);
    object["persisted"] = to_uint(region.persisted);
    object["creation_ns"] = region.creation_ns;
    object["log"] = region.log;
    object["unknown_flags"] = region.unknown_flags;
    object["content_type"] = attributes.content_type;
    object["attributes"] = nlohmann::ordered_json::object();
    for (const auto& [key, value] : attributes.values)
        object["attributes"][key] = value;
    return object;
}

/// At most `width` characters, cut with a dot.
std::string fit(const std::string& text, std::size_t width) {
    std::size_t characters = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80)
            continue;
        if (++characters == width && text.size() > i + 1) {
            std::size_t rest = i + 1;
            while (rest < text.size() && (static_cast<unsigned char>(text[rest]) & 0xc0) == 0x80)
                ++rest;
            if (rest < text.size())
                return text.substr(0, i) + "~";
        }
    }
    return text;
}

}  // namespace

void print_attributes(const region_attributes& attributes, std::string_view indent, output& out) {
    if (!attributes.content_type.empty())
        out.print("{}content type: {}\n", indent, printable(attributes.content_type));
    for (const auto& [key, value] : attributes.values)
        out.print("{}{} = {}\n", indent, printable(key), printable(value));
}

void show_regions(const reader& from, const inspect_options& options, output& out) {
    const auto all = need(from.regions());
    const auto only =
        options.region ? std::optional(need_region(from, *options.region).handle) : std::optional<region>();
    const auto wanted = [&only](const region_info& region) { return !only || region.handle == *only; };
    if (options.json) {
        auto array = nlohmann::ordered_json::array();
        for (const auto& region : all)
            if (wanted(region))
                array.push_back(to_json(region, attributes_of(from, region)));
        out.print("{}\n", array.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return;
    }
    out.print("{:<3}{:<20}{:>11} {:>10} {:>10}  {:<12} {:>9}\n", "", "REGION", "AT", "SIZE", "USED", "FULL", "NEWEST");
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto& region = all[i];
        if (!wanted(region))
            continue;
        const std::string newest =
            region.committed == sequence::none ? std::string("-") : fmt::format("{}", to_uint(region.committed));
        out.print("{:<3}{:<20}{:>11x} {:>10} {:>10}  {:<12} {:>9}\n", letter_of(i),
                  fit(printable(label_of(region)), 19), to_uint(region.extent), bytes_for_people(region.size_bytes),
                  bytes_for_people(region.used_bytes), draw_share(region.used_bytes, region.size_bytes), newest);
        print_attributes(attributes_of(from, region), "   ", out);
        if (region.unknown_flags != 0)
            out.print("   made by a newer version: flags {:#x} are not known here, so it cannot be read\n",
                      region.unknown_flags);
    }
    if (only)
        return;
    const auto info = from.info();
    out.print("\n{}\n", draw_file(all, need(from.extents()), info.stream_bytes, info.block_bytes));
    out.print(
        "{}, of which {} are free. Offsets are hexadecimal. Capitals hold\n"
        "entries, small letters are room in a region, # is the stream's own, . is free.\n",
        bytes_for_people(info.stream_bytes), bytes_for_people(info.free_bytes));
}

}  // namespace pmemstream::tools
