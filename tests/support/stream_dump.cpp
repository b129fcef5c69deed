#include "tests/support/stream_dump.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <map>

namespace pmemstream::test {

namespace {

template <class Cursor>
bool drain(Cursor& from, stream_dump& into) {
    for (;;) {
        auto got = from.next();
        if (!got) {
            into.ended = std::move(got.error());
            return false;
        }
        if (!*got)
            return true;
        const auto payload = (*got)->payload();
        into.entries.push_back(
            {(*got)->where(), (*got)->sequence(), (*got)->offset(), {payload.begin(), payload.end()}});
    }
}

std::optional<reader> open_and_list(const std::filesystem::path& file, stream_dump& into) {
    auto opened = reader::open(file, {.name = "dump", .without_control = true});
    if (!opened) {
        into.refused = std::move(opened.error());
        return std::nullopt;
    }
    auto regions = opened->regions();
    if (!regions) {
        into.refused = std::move(regions.error());
        return std::nullopt;
    }
    into.regions = std::move(*regions);
    return std::move(*opened);
}

const cursor_options checking{.check_crc = true, .registered = false};

std::string base64(const std::vector<std::byte>& bytes) {
    static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        unsigned bits = 0;
        for (std::size_t k = 0; k < 3; ++k)
            bits = bits << 8 | (k < count ? std::to_integer<unsigned>(bytes[i + k]) : 0);
        for (std::size_t k = 0; k < 4; ++k)
            text += k <= count ? digits[bits >> (18 - 6 * k) & 63] : '=';
    }
    return text;
}

}  // namespace

stream_dump dump_merged(const std::filesystem::path& file) {
    stream_dump dump;
    auto opened = open_and_list(file, dump);
    if (!opened)
        return dump;
    auto from = opened->follow_all(checking);
    if (!from)
        dump.refused = std::move(from.error());
    else
        (void)drain(*from, dump);
    return dump;
}

stream_dump dump_by_region(const std::filesystem::path& file) {
    stream_dump dump;
    auto opened = open_and_list(file, dump);
    if (!opened)
        return dump;
    for (const auto& region : dump.regions) {
        auto from = opened->follow(region.handle, checking);
        if (!from) {
            (dump.entries.empty() ? dump.refused : dump.ended) = std::move(from.error());
            return dump;
        }
        if (!drain(*from, dump))
            return dump;
    }
    return dump;
}

bool same_region(const region_info& a, const region_info& b) noexcept {
    return a.handle == b.handle && a.name == b.name && a.size_bytes == b.size_bytes && a.used_bytes == b.used_bytes &&
           a.extent == b.extent && a.extent_bytes == b.extent_bytes && a.begin == b.begin &&
           a.committed_end == b.committed_end && a.persisted_end == b.persisted_end && a.first == b.first &&
           a.committed == b.committed && a.persisted == b.persisted && a.creation_ns == b.creation_ns;
}

bool same_regions(const stream_dump& a, const stream_dump& b) noexcept {
    return std::equal(a.regions.begin(), a.regions.end(), b.regions.begin(), b.regions.end(), same_region);
}

bool same_and_whole(const stream_dump& a, const stream_dump& b) noexcept {
    return a.whole() && b.whole() && same_regions(a, b) && a.entries == b.entries;
}

std::vector<std::string> to_json_lines(const stream_dump& dump) {
    std::map<std::uint64_t, std::string> names;
    for (const auto& r : dump.regions)
        names[r.handle.generation()] = r.name;
    std::vector<std::string> lines;
    for (const auto& e : dump.entries)
        lines.push_back(fmt::format(R"({{"region": "{}", "slot": {}, "generation": {}, "sequence": {}, "offset": {}, )"
                                    R"("payload": "{}"}})",
                                    names[e.where.generation()], e.where.index(), e.where.generation(),
                                    to_uint(e.sequence), to_uint(e.offset), base64(e.payload)));
    return lines;
}

}  // namespace pmemstream::test
