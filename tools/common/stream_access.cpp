#include "tools/common/stream_access.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/text.hpp"

#include <fmt/format.h>

namespace pmemstream::tools {

std::string label_of(const region_info& info) {
    if (info.name.empty())
        return fmt::format("#{}", info.handle.generation());
    return info.name.starts_with('#') ? "#" + info.name : info.name;
}

std::optional<region_info> find_region(const reader& from, std::string_view label) {
    if (const auto generation = label.starts_with('#') ? parse_number(label.substr(1)) : std::nullopt) {
        for (auto& info : need(from.regions()))
            if (info.name.empty() && info.handle.generation() == *generation)
                return info;
        return std::nullopt;
    }
    const auto named = from.find(label.starts_with("##") ? label.substr(1) : label);
    if (!named && named.error().code() != errc::not_found)
        fail(named.error());
    if (named) {
        auto info = from.describe(*named);
        // Freed between the two looks.
        if (!info && info.error().code() == errc::region_gone)
            return std::nullopt;
        return need(std::move(info));
    }
    return std::nullopt;
}

region_info need_region(const reader& from, std::string_view label) {
    if (auto found = find_region(from, label))
        return *found;
    std::string names;
    if (const auto all = from.regions()) {
        constexpr std::size_t shown_max = 20;
        for (std::size_t i = 0; i < all->size() && i < shown_max; ++i)
            names += fmt::format("{}{}", i == 0 ? "" : ", ", printable(label_of((*all)[i])));
        if (all->size() > shown_max)
            names += fmt::format(" and {} more", all->size() - shown_max);
    }
    fail(exit_code::io, "{}: no region \"{}\"; {}", from.info().file.string(), printable(label),
         names.empty() ? "the stream has none" : "there are " + names);
}

}  // namespace pmemstream::tools
