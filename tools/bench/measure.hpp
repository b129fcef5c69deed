#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

// How a number is made: the thing and its limit take turns in one run, so that both meet the same machine (the two
// virtual CPUs of a small VM change places within seconds), and the ratio is taken pair by pair.
namespace bench {

using clock = std::chrono::steady_clock;

struct settings {
    std::filesystem::path file;       ///< base name of the streams
    std::filesystem::path disk_file;  ///< the same where a sync reaches a disk
    std::vector<std::uint64_t> sizes;
    unsigned repetitions = 11;
    int cpu = -1;        ///< of the measured thread; -1: not pinned
    int other_cpu = -1;  ///< of the second process
};

/// One line of the report.
struct row {
    std::string workload;
    std::string variant;
    std::uint64_t payload_bytes = 0;
    std::string unit;
    double median = 0;
    double min = 0;
    double max = 0;
    double limit_median = 0;
    double ratio = 0;  ///< median of the pairs' ratios
    double goal = 0;   ///< greatest ratio that is fine; 0: none set

    [[nodiscard]] bool missed() const noexcept { return goal > 0 && ratio > goal; }
};

[[nodiscard]] double median(std::vector<double> values);
/// `fraction` 0 … 1 of all values lie at or below the result.
[[nodiscard]] double percentile(std::vector<double> values, double fraction);

/// Fills in the figures of a row from pairs of measurements.
void summarize(row& into, const std::vector<double>& thing, const std::vector<double>& limit);

/// Runs both `repetitions` times, in turns and in changing order, after one turn that does not count. Each gives its
/// cost in the row's unit.
void measure_pairs(row& into, unsigned repetitions, const std::function<double()>& thing,
                   const std::function<double()>& limit);

void pin(int cpu);
/// Any CPU again: for what runs many threads.
void unpin();

/// Keeps the compiler from dropping the computation of a value.
inline void keep(std::uint64_t value) noexcept {
    __asm__ volatile("" : : "r"(value) : "memory");
}

// The workloads.
[[nodiscard]] std::vector<row> run_append(const settings& how);
[[nodiscard]] std::vector<row> run_read(const settings& how);
[[nodiscard]] std::vector<row> run_latency(const settings& how);
[[nodiscard]] std::vector<row> run_durable(const settings& how);
[[nodiscard]] std::vector<row> run_open(const settings& how);

}  // namespace bench
