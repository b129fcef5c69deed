#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace bench {

/// What a run is told by its command line.
struct settings {
    std::filesystem::path file;        ///< base name of the streams
    std::filesystem::path disk_file;   ///< the same where a sync reaches a disk
    std::vector<std::uint64_t> sizes;  ///< payload bytes; empty: each workload's own
    std::vector<unsigned> readers;     ///< numbers of parked readers; empty: the workload's own
    double rate = 100'000;             ///< appends per second where one is set
    double seconds = 60;               ///< of jitter
    unsigned repetitions = 7;
    int cpu = -1;        ///< of the measured thread; -1: not pinned
    int other_cpu = -1;  ///< of the second process
    bool all = false;    ///< also what takes long
    bool quick = false;  ///< a hundredth of everything: shows that it works, measures nothing

    [[nodiscard]] std::vector<std::uint64_t> sizes_or(std::vector<std::uint64_t> own) const {
        return sizes.empty() ? std::move(own) : sizes;
    }
    /// How many of something that a turn does often.
    [[nodiscard]] std::uint64_t count(std::uint64_t full) const noexcept {
        return quick ? std::max<std::uint64_t>(full / 100, std::min<std::uint64_t>(full, 4)) : full;
    }
    /// Memory to go through in a turn; with room for so many of the largest entries that were asked for, at least.
    [[nodiscard]] std::uint64_t bytes(std::uint64_t full, std::uint64_t entries_min = 0) const noexcept {
        constexpr std::uint64_t header_bytes_max = 64;
        const std::uint64_t largest = sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end());
        const std::uint64_t wanted = quick ? std::min(full, std::uint64_t{2} << 20) : full;
        return std::max(wanted, entries_min * (largest + header_bytes_max));
    }
};

}  // namespace bench
