#include "tools/inspect/picture.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <string_view>

namespace pmemstream::tools {

namespace {

constexpr std::uint64_t columns = 64;
constexpr std::uint64_t rows_max = 8;

__extension__ using wide = unsigned __int128;

/// A stretch of the file that is drawn with one character.
struct stretch {
    std::uint64_t begin;
    std::uint64_t end;
    char drawn;
};

std::vector<stretch> stretches_of(const std::vector<region_info>& regions, const std::vector<extent_info>& extents) {
    std::vector<stretch> all;
    for (const auto& extent : extents) {
        const std::uint64_t begin = to_uint(extent.begin);
        const std::uint64_t end = begin + extent.bytes;
        if (extent.kind == extent_info::use::metadata || extent.kind == extent_info::use::table_segment)
            all.push_back({begin, end, '#'});
        if (extent.kind != extent_info::use::region)
            continue;
        const auto region = std::ranges::find(regions, extent.handle, &region_info::handle);
        if (region == regions.end()) {
            all.push_back({begin, end, '?'});  // allocated between the two looks
            continue;
        }
        const char letter = letter_of(static_cast<std::size_t>(region - regions.begin()));
        const std::uint64_t used_end = region->used_bytes == 0 ? begin : to_uint(region->committed_end);
        if (used_end > begin)
            all.push_back({begin, used_end, letter});
        if (used_end < end)
            all.push_back({used_end, end, static_cast<char>(letter + ('a' - 'A'))});
    }
    return all;
}

}  // namespace

char letter_of(std::size_t row) noexcept {
    return static_cast<char>('A' + row % 26);
}

std::string draw_share(std::uint64_t used, std::uint64_t size) {
    constexpr std::uint64_t width = 10;
    std::uint64_t filled =
        size == 0 ? 0 : static_cast<std::uint64_t>(static_cast<double>(used) / static_cast<double>(size) * width);
    filled = std::min(filled, width);
    if (used != 0)
        filled = std::max<std::uint64_t>(filled, 1);
    if (used < size)
        filled = std::min(filled, width - 1);
    return fmt::format("[{}{}]", std::string(filled, '#'), std::string(width - filled, '.'));
}

std::string draw_file(const std::vector<region_info>& regions, const std::vector<extent_info>& extents,
                      std::uint64_t stream_bytes, std::uint64_t block_bytes) {
    // Not more cells than blocks, so that each block is at most one.
    const std::uint64_t blocks = std::max<std::uint64_t>(stream_bytes / std::max<std::uint64_t>(block_bytes, 4096), 1);
    const std::uint64_t cells = std::min(blocks, columns * rows_max);
    const auto begin_of = [&](std::uint64_t cell) {
        return static_cast<std::uint64_t>(static_cast<wide>(stream_bytes) * cell / cells);
    };
    const auto all = stretches_of(regions, extents);

    // A cell shows what takes most of it.
    std::string picture(cells, '.');
    for (std::uint64_t cell = 0; cell < cells; ++cell) {
        const std::uint64_t begin = begin_of(cell);
        const std::uint64_t end = begin_of(cell + 1);
        std::uint64_t most = 0;
        std::uint64_t taken = 0;
        char drawn = '.';
        for (const auto& s : all) {
            const std::uint64_t from = std::max(begin, s.begin);
            const std::uint64_t to = std::min(end, s.end);
            if (from >= to)
                continue;
            taken += to - from;
            if (to - from > most) {
                most = to - from;
                drawn = s.drawn;
            }
        }
        picture[cell] = most >= end - begin - taken ? drawn : '.';
    }
    // What is too small to take most of any cell is shown all the same, at or right behind its place: in a cell that is
    // not the last one to show something else.
    for (const auto& s : all) {
        if (picture.find(s.drawn) != std::string::npos)
            continue;
        const auto first = static_cast<std::size_t>(static_cast<wide>(s.begin) * cells / stream_bytes);
        for (std::size_t cell = first; cell < cells; ++cell) {
            if (std::ranges::count(picture, picture[cell]) == 1)
                continue;
            picture[cell] = s.drawn;
            break;
        }
    }

    std::string text;
    for (std::uint64_t cell = 0; cell < cells; cell += columns)
        text += fmt::format("{:>12x} |{}|\n", begin_of(cell), std::string_view(picture).substr(cell, columns));
    return text;
}

}  // namespace pmemstream::tools
