#include "tools/bench/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace bench {

std::size_t histogram::bucket_of(std::uint64_t value) noexcept {
    // Below 2 * steps, value and bucket are the same; from there on each doubling takes another `steps` buckets.
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= precision_bits + 1)
        return static_cast<std::size_t>(value);
    const unsigned shift = width - (precision_bits + 1);
    return shift * steps + static_cast<std::size_t>(value >> shift);
}

std::uint64_t histogram::greatest_in(std::size_t bucket) noexcept {
    if (bucket < 2 * steps)
        return bucket;
    const auto shift = static_cast<unsigned>(bucket / steps - 1);
    const std::uint64_t leading = bucket - shift * steps;
    return (leading << shift) + ((std::uint64_t{1} << shift) - 1);
}

void histogram::record(std::uint64_t value, std::uint64_t times) noexcept {
    counts_[bucket_of(value)] += times;
    count_ += times;
    max_ = std::max(max_, value);
}

void histogram::merge(const histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i)
        counts_[i] += other.counts_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
}

std::uint64_t histogram::percentile(double fraction) const noexcept {
    if (count_ == 0)
        return 0;
    const double wanted = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_));
    const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        seen += counts_[i];
        if (seen >= rank)
            return std::min(greatest_in(i), max_);
    }
    return max_;
}

}  // namespace bench
