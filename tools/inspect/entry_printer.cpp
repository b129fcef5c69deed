#include "tools/inspect/entry_printer.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/stream_access.hpp"
#include "tools/common/text.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace pmemstream::tools {

void entry_printer::announce(const region_info& info) {
    const bool unnamed = info.name.empty();
    const auto label = label_of(info);
    const auto [known, added] =
        known_.try_emplace(info.handle.generation(), names{label, unnamed ? label : info.name, unnamed});
    if (added && options_.format == entry_format::frames)
        out_.put(region_frame(known->second.frame(), info.size_bytes));
}

void entry_printer::begin() {
    if (options_.format != entry_format::frames)
        return;
    const auto info = from_.info();
    out_.put(stream_frame(info.stream_bytes, info.block_bytes));
    if (options_.region) {
        announce(need_region(from_, *options_.region));
        return;
    }
    for (const auto& region : need(from_.regions()))
        announce(region);
}

const entry_printer::names* entry_printer::names_of(region where) {
    if (const auto known = known_.find(where.generation()); known != known_.end())
        return &known->second;
    const auto info = from_.describe(where);
    if (!info && info.error().code() == errc::region_gone)
        return nullptr;
    if (!info)
        fail(info.error());
    announce(*info);
    return &known_.at(where.generation());
}

bool entry_printer::show(const entry& shown) {
    if (const auto copied = shown.read_into(payload_); !copied) {
        if (copied.error().code() == errc::region_gone)
            return false;
        fail(copied.error());
    }
    const names* const region = names_of(shown.where());
    if (region == nullptr)
        return false;
    ++entries_;
    bytes_ += payload_.size();
    const std::string_view text = as_text(payload_);
    switch (options_.format) {
        case entry_format::text:
            if (options_.with_sequences)
                out_.print("{}\t", to_uint(shown.sequence()));
            if (options_.with_regions)
                out_.print("{}\t", printable(region->label));
            out_.put(text);
            out_.put("\n");
            break;
        case entry_format::hex:
            show_hex(shown, region->label);
            break;
        case entry_format::json:
            show_json(shown, region->label);
            break;
        case entry_format::frames:
            out_.put(entry_frame_head(region->frame(), static_cast<std::uint32_t>(payload_.size())));
            out_.put(text);
            break;
    }
    return true;
}

void entry_printer::show_hex(const entry& shown, const std::string& label) {
    out_.print("sequence {}  offset {}  region {}  {} byte{}\n", to_uint(shown.sequence()), to_uint(shown.offset()),
               printable(label), payload_.size(), payload_.size() == 1 ? "" : "s");
    constexpr std::size_t row = 16;
    for (std::size_t at = 0; at < payload_.size(); at += row) {
        const std::size_t bytes = std::min(row, payload_.size() - at);
        std::string numbers;
        std::string letters;
        for (std::size_t i = 0; i < bytes; ++i) {
            const auto byte = std::to_integer<unsigned>(payload_[at + i]);
            numbers += fmt::format("{}{:02x} ", i == row / 2 ? " " : "", byte);
            letters += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
        }
        out_.print("  {:08x}  {:<50}|{}|\n", at, numbers, letters);
    }
}

void entry_printer::show_json(const entry& shown, const std::string& label) {
    nlohmann::ordered_json object;
    object["sequence"] = to_uint(shown.sequence());
    object["offset"] = to_uint(shown.offset());
    object["region"] = label;
    object["bytes"] = payload_.size();
    const std::string_view text = as_text(payload_);
    if (is_utf8(text))
        object["text"] = text;
    else
        object["base64"] = to_base64(text);
    // A region's name may be any bytes.
    out_.put(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    out_.put("\n");
}

}  // namespace pmemstream::tools
