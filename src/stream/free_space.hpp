#pragma once

#include "src/stream/region_table.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

// Which blocks are free. The table alone tells: free space is what no slot and no table segment covers.
namespace pmemstream::core {

/// What of the file is taken, by offset. Errors: corrupt where two overlap.
class free_space {
public:
    free_space(std::uint64_t begin, std::uint64_t end);
    /// False if any of it is taken already.
    [[nodiscard]] bool take(std::uint64_t offset, std::uint64_t bytes);
    /// The first run that is long enough.
    [[nodiscard]] std::optional<std::uint64_t> find(std::uint64_t bytes) const;
    void give_back(std::uint64_t offset, std::uint64_t bytes);

    [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& runs() const noexcept { return runs_; }
    [[nodiscard]] std::uint64_t free_bytes() const noexcept;
    [[nodiscard]] std::uint64_t largest_bytes() const noexcept;

private:
    std::map<std::uint64_t, std::uint64_t> runs_;  // offset -> bytes, never adjacent
};

/// Free is what no slot and no table segment covers. Errors: corrupt.
[[nodiscard]] result<free_space> compute_free_space(const stream_file& file, const region_table& table);

/// Every byte of the file and what it is used for, in order of offset. Errors: corrupt.
[[nodiscard]] result<std::vector<extent_info>> list_extents(const stream_file& file, const region_table& table);

}  // namespace pmemstream::core
