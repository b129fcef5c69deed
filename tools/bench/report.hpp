#pragma once

#include "tools/bench/histogram.hpp"
#include "tools/bench/machine.hpp"
#include "tools/bench/row.hpp"
#include "tools/bench/settings.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace bench {

/// The values of a row with percentiles, and those of its limit, for those who draw them.
struct distribution {
    std::string workload;
    std::string variant;
    std::uint64_t payload_bytes = 0;
    histogram values_ns;
    histogram limit_ns;
};

/// What runs beside us, and what it does not do.
struct peer_note {
    std::string name;
    std::string guarantee;  ///< committed, persisted or delivered
    std::string lacks;      ///< of: persist, isolate readers, wake
    std::string left_out;   ///< why it was not measured; empty when it was
};

/// Throws where a report could not be written to this file: before anything is measured, for that takes minutes. Leaves a
/// file that is there as it is.
void prepare_json(const std::filesystem::path& file);

/// Everything that was measured: shown as it comes, and kept for --json, --plot and --check.
class report {
public:
    report(bench::machine where, settings how, std::vector<std::string> command);

    void add(row made);
    void add(distribution made) { distributions_.push_back(std::move(made)); }
    void add(peer_note about);

    [[nodiscard]] const std::vector<row>& rows() const noexcept { return rows_; }
    [[nodiscard]] const std::vector<distribution>& distributions() const noexcept { return distributions_; }
    /// How many rows miss their goal by more than `tolerance` times it.
    [[nodiscard]] std::size_t missed(double tolerance) const noexcept;
    /// The object that docs/pmemstream-bench.schema.json describes.
    void write_json(const std::filesystem::path& file) const;

private:
    bench::machine machine_;
    settings settings_;
    std::vector<std::string> command_;
    std::vector<row> rows_;
    std::vector<distribution> distributions_;
    std::vector<peer_note> peers_;
};

}  // namespace bench
