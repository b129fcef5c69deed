#pragma once

#include "tests/corrupt/stream_image.hpp"
#include "tests/support/stream_dump.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <doctest/doctest.h>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace pmemstream::test {

/// An entry as a salvage keeps it: where it was, by region, and its bytes; its sequence gives its place.
struct kept_entry {
    std::string region;
    std::vector<std::byte> payload;
    std::uint64_t offset = 0;  ///< not kept

    friend bool operator==(const kept_entry& a, const kept_entry& b) {
        return a.region == b.region && a.payload == b.payload;
    }
};

/// All entries in the order of their sequences.
[[nodiscard]] inline std::vector<kept_entry> entries_in_order(const std::filesystem::path& file) {
    const auto dump = dump_merged(file);
    if (!dump.whole())
        FAIL((dump.refused ? dump.refused : dump.ended)->message());
    std::vector<kept_entry> all;
    for (const auto& e : dump.entries) {
        const auto info = std::ranges::find(dump.regions, e.where, &region_info::handle);
        REQUIRE(info != dump.regions.end());
        all.push_back({info->name, e.payload, to_uint(e.offset)});
    }
    return all;
}

/// What a salvage said, and what is in the new stream, which verify has passed.
struct salvaged {
    nlohmann::json report;
    std::vector<kept_entry> entries;
    std::vector<region_info> regions;

    /// (from, to) of everything that was left.
    [[nodiscard]] std::set<std::pair<std::uint64_t, std::uint64_t>> left() const {
        std::set<std::pair<std::uint64_t, std::uint64_t>> all;
        for (const auto& region : report["regions"])
            for (const auto& range : region["left"])
                all.emplace(range["from"], range["to"]);
        return all;
    }
};

[[nodiscard]] inline salvaged salvage(const std::filesystem::path& file, int status) {
    const auto out = file.string() + ".salvaged";
    std::filesystem::remove(out);
    const auto got = run({inspect_tool, "salvage", file, out, "--json"});
    CAPTURE(got.out);
    REQUIRE_MESSAGE(got.status() == status, got.err);
    const auto checked = run({inspect_tool, "verify", out});
    CHECK_MESSAGE(checked.status() == 0, checked.out);
    auto dump = dump_merged(out);
    salvaged all{nlohmann::json::parse(got.out), entries_in_order(out), std::move(dump.regions)};
    for (std::size_t i = 0; i < dump.entries.size(); ++i)
        CHECK(to_uint(dump.entries[i].sequence) == i + 1);
    CHECK(all.report["entries"] == all.entries.size());
    CHECK(all.report["complete"] == (status == 0));
    return all;
}

/// The entries without those that begin in one of the ranges.
[[nodiscard]] inline std::vector<kept_entry> without(std::vector<kept_entry> entries,
                                                     const std::set<std::pair<std::uint64_t, std::uint64_t>>& ranges) {
    std::erase_if(entries, [&](const kept_entry& e) {
        return std::ranges::any_of(ranges, [&](const auto& r) { return e.offset >= r.first && e.offset < r.second; });
    });
    return entries;
}

}  // namespace pmemstream::test
