#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace pmemstream::test {

/// Damage by somebody who knows the format: fields that lie under CRCs that are right.
class liar {
public:
    explicit liar(std::span<const std::byte> original);

    /// Changes `image` (as large as the original, and not yet damaged) in one way.
    void lie(std::span<std::byte> image, std::mt19937_64& random) const;
    /// Changes a size or a number in the header of a table segment, and leaves its CRC alone: for a file that is read
    /// at the same time, in which the header was right a moment ago.
    void swell_segment(std::span<std::byte> image, std::mt19937_64& random) const;

private:
    void lie_in_slot(std::span<std::byte> image, std::mt19937_64& random) const;
    void lie_in_offsets(std::span<std::byte> image, std::mt19937_64& random) const;
    void lie_in_entry(std::span<std::byte> image, std::mt19937_64& random) const;
    void lie_in_segments(std::span<std::byte> image, std::mt19937_64& random) const;
    void lie_in_superblock(std::span<std::byte> image, std::mt19937_64& random) const;
    void lie_in_header(std::span<std::byte> image, std::mt19937_64& random) const;
    [[nodiscard]] std::uint64_t value(std::mt19937_64& random) const;
    [[nodiscard]] std::uint64_t any_slot(std::mt19937_64& random) const;

    std::vector<std::uint64_t> slots_;
    std::vector<std::uint64_t> segments_;
    std::vector<std::uint64_t> entries_;
    std::vector<std::uint64_t> interesting_;
    std::uint64_t bytes_;
};

}  // namespace pmemstream::test
