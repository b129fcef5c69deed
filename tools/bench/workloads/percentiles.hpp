#pragma once

#include "tools/bench/histogram.hpp"
#include "tools/bench/report.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// Rows of percentiles: each turn fills a histogram, and the percentiles of neighbouring turns make the pairs.
class percentile_rows {
public:
    using fill = std::function<void(histogram& ns)>;
    struct goals {
        std::optional<double> p50{};
        std::optional<double> p99{};
        std::optional<double> p99_9{};
    };

    percentile_rows(std::string workload, std::string variant, std::uint64_t payload_bytes, std::string unit,
                    std::string limit);
    /// `slices`: a turn is so many, by turns with the other's, so that what holds up the machine now and then for longer
    /// than a slice meets both sides of a pair.
    void measure(unsigned repetitions, const fill& thing, const fill& limit, unsigned slices = 1);
    /// One row for each of p50, p90, p99, p99.9, p99.99 up to `greatest` (which takes 1 / (1 - greatest) values or more
    /// in a turn), and the distribution of all turns together.
    void add_to(report& into, const goals& wanted, double greatest = 0.9999) const;

private:
    struct series {
        std::vector<std::vector<double>> percentiles;  ///< a vector for each
        histogram turn;                                ///< the slices of this one so far
        unsigned slices = 0;
        histogram all;
    };

    row like_;
    std::unique_ptr<series> thing_;
    std::unique_ptr<series> limit_;
};

}  // namespace bench
