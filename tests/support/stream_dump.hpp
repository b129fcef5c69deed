#pragma once

#include <pmemstream/reader.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::test {

struct dumped_entry {
    region where;
    pmemstream::sequence sequence{};
    pmemstream::offset offset{};
    std::vector<std::byte> payload;

    friend bool operator==(const dumped_entry&, const dumped_entry&) = default;
};

/// What a reader makes of a stream, every CRC checked, without the control file.
struct stream_dump {
    std::vector<region_info> regions;   ///< in order of allocation
    std::vector<dumped_entry> entries;  ///< up to the end, or up to `ended`
    std::optional<error> refused;       ///< by open(), regions() or when the first cursor was made
    std::optional<error> ended;         ///< by a cursor on its way

    [[nodiscard]] bool whole() const noexcept { return !refused && !ended; }
};

/// All entries by sequence.
[[nodiscard]] stream_dump dump_merged(const std::filesystem::path& file);
/// Region after region, in order of allocation, until something is wrong.
[[nodiscard]] stream_dump dump_by_region(const std::filesystem::path& file);

[[nodiscard]] bool same_region(const region_info& a, const region_info& b) noexcept;
[[nodiscard]] bool same_regions(const stream_dump& a, const stream_dump& b) noexcept;
/// Regions and entries, and no error in either.
[[nodiscard]] bool same_and_whole(const stream_dump& a, const stream_dump& b) noexcept;

/// Each entry as tests/format/stream_reader.py prints it.
[[nodiscard]] std::vector<std::string> to_json_lines(const stream_dump& dump);

}  // namespace pmemstream::test
