#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// One line of the report: a thing, beside what limits it. Smaller is better in every unit.
struct row {
    std::string workload{};
    std::string variant{};
    std::uint64_t payload_bytes = 0;
    std::string unit{};
    std::string limit{};  ///< what the thing is held against
    double median = 0;
    double min = 0;
    double max = 0;
    double limit_median = 0;
    double ratio = 0;                   ///< median of the pairs' ratios
    std::optional<double> goal{};       ///< greatest ratio that is fine
    std::optional<unsigned> readers{};  ///< where the row is about so many

    /// By more than `tolerance` times the goal.
    [[nodiscard]] bool missed(double tolerance = 1) const noexcept { return goal && !(ratio <= *goal * tolerance); }
};

/// The ratio with two digits behind the point, or with as many as show that it misses its goal.
[[nodiscard]] std::string shown_ratio(const row& of);

[[nodiscard]] double median(std::vector<double> values);

/// Fills in the figures of a row from pairs of measurements, which are given in the order they were made.
[[nodiscard]] row summarized(row into, const std::vector<double>& thing, const std::vector<double>& limit);

}  // namespace bench
