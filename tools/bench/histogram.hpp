#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace bench {

/// Counts of values in log-linear buckets, after the idea of Gil Tene's HdrHistogram (hdrhistogram.org): every power of
/// two is cut into the same number of equal steps, so that any value from 0 to 2^64 - 1 keeps its leading digits, and
/// recording is an increment. Plain data of fixed size: it can lie in memory that processes share.
class histogram {
public:
    /// A bucket is at most 1/128 of its values wide. Values below 256 are kept exactly.
    static constexpr unsigned precision_bits = 7;

    void record(std::uint64_t value, std::uint64_t times = 1) noexcept;
    void merge(const histogram& other) noexcept;
    void clear() noexcept { *this = histogram{}; }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    /// The least bucket's end below or at which lie `fraction` (0 … 1) of the values: never less than the exact
    /// percentile, and more by less than 1/128 of it. 0 of an empty histogram.
    [[nodiscard]] std::uint64_t percentile(double fraction) const noexcept;

    /// visit(greatest value of the bucket, count), for those that are not empty, in order.
    template <class Visit>
    void each_bucket(Visit visit) const {
        for (std::size_t i = 0; i < counts_.size(); ++i)
            if (counts_[i] != 0)
                visit(greatest_in(i), counts_[i]);
    }

private:
    static constexpr std::size_t steps = std::size_t{1} << precision_bits;
    [[nodiscard]] static std::size_t bucket_of(std::uint64_t value) noexcept;
    [[nodiscard]] static std::uint64_t greatest_in(std::size_t bucket) noexcept;

    std::array<std::uint64_t, (64 - precision_bits + 1) * steps> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace bench
