#include "src/stream/free_space.hpp"

#include "src/base/failure.hpp"

#include <algorithm>
#include <iterator>

namespace pmemstream::core {

using base::failure;

free_space::free_space(std::uint64_t begin, std::uint64_t end) {
    if (begin < end)
        runs_.emplace(begin, end - begin);
}

bool free_space::take(std::uint64_t offset, std::uint64_t bytes) {
    auto run = runs_.upper_bound(offset);
    if (run == runs_.begin())
        return false;
    --run;
    const auto [begin, length] = *run;
    if (offset - begin > length || bytes > length - (offset - begin))
        return false;
    runs_.erase(run);
    if (offset > begin)
        runs_.emplace(begin, offset - begin);
    if (begin + length > offset + bytes)
        runs_.emplace(offset + bytes, begin + length - offset - bytes);
    return true;
}

std::optional<std::uint64_t> free_space::find(std::uint64_t bytes) const {
    const auto run = std::find_if(runs_.begin(), runs_.end(), [bytes](const auto& r) { return r.second >= bytes; });
    return run == runs_.end() ? std::nullopt : std::optional(run->first);
}

void free_space::give_back(std::uint64_t offset, std::uint64_t bytes) {
    auto after = runs_.lower_bound(offset);
    if (after != runs_.end() && offset + bytes == after->first) {
        bytes += after->second;
        after = runs_.erase(after);
    }
    if (after != runs_.begin()) {
        const auto before = std::prev(after);
        if (before->first + before->second == offset) {
            before->second += bytes;
            return;
        }
    }
    runs_.emplace(offset, bytes);
}

std::uint64_t free_space::free_bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [offset, bytes] : runs_)
        sum += bytes;
    return sum;
}

std::uint64_t free_space::largest_bytes() const noexcept {
    std::uint64_t largest = 0;
    for (const auto& [offset, bytes] : runs_)
        largest = std::max(largest, bytes);
    return largest;
}

namespace {
result<free_space> add_up_space(const stream_file& file, const region_table& table) {
    const auto overlap = [&](const char* what, std::uint64_t index, std::uint64_t offset, std::uint64_t bytes) {
        return failure(errc::corrupt, "{}: {} {} ({} bytes at offset {}) lies over something else", file.name(), what,
                       index, bytes, offset);
    };
    free_space space(file.superblock().data_offset, file.stream_bytes());
    for (std::size_t i = 1; i < table.segments().size(); ++i)
        if (const auto& s = table.segments()[i]; !space.take(s.offset, s.bytes))
            return overlap("table segment", i, s.offset, s.bytes);
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        auto cold = read_cold(file, table.slot(i), i, false);
        if (!cold)
            return tl::unexpected(std::move(cold.error()));
        if (*cold && !space.take((*cold)->extent_offset, (*cold)->extent_bytes))
            return overlap("the extent of region slot", i, (*cold)->extent_offset, (*cold)->extent_bytes);
    }
    return space;
}
}  // namespace

result<free_space> compute_free_space(const stream_file& file, const region_table& table) {
    // Beside a live writer an extent may move from one slot to another between two looks, which seems an overlap.
    constexpr int tries = 16;
    auto space = add_up_space(file, table);
    for (int i = 1; i < tries && !space; ++i)
        space = add_up_space(file, table);
    return space;
}

result<std::vector<extent_info>> list_extents(const stream_file& file, const region_table& table) {
    auto space = compute_free_space(file, table);
    if (!space)
        return tl::unexpected(std::move(space.error()));
    auto regions = list_regions(file, table);
    if (!regions)
        return tl::unexpected(std::move(regions.error()));
    std::vector<extent_info> all;
    all.push_back({extent_info::use::metadata, offset{0}, file.superblock().data_offset, {}});
    for (std::size_t i = 1; i < table.segments().size(); ++i)
        all.push_back(
            {extent_info::use::table_segment, offset{table.segments()[i].offset}, table.segments()[i].bytes, {}});
    for (const auto& r : *regions)
        all.push_back({extent_info::use::region, r.extent, r.extent_bytes, r.handle});
    for (const auto& [begin, bytes] : space->runs())
        all.push_back({extent_info::use::free, offset{begin}, bytes, {}});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    return all;
}

}  // namespace pmemstream::core
