#pragma once

#include "tools/bench/report.hpp"
#include "tools/bench/settings.hpp"

#include <span>
#include <string_view>

namespace bench {

/// Something to measure. Each has a file of its own in workloads/, and stands in the list below.
struct workload {
    std::string_view name;
    std::string_view what;
    bool by_default;
    /// Adds its rows as they are made. Throws where it cannot go on.
    void (*run)(const settings& how, report& into);
};

[[nodiscard]] std::span<const workload> workloads();

void run_append(const settings& how, report& into);
void run_durable(const settings& how, report& into);
void run_read(const settings& how, report& into);
void run_stream(const settings& how, report& into);
void run_latency(const settings& how, report& into);
void run_wake(const settings& how, report& into);
void run_open(const settings& how, report& into);
void run_jitter(const settings& how, report& into);
/// What Debian ships and would be used instead.
void run_peers(const settings& how, report& into);

// Parts of the above.
void run_append_beside_readers(const settings& how, report& into);
/// Of what the cost of an append is made.
void run_append_budget(const settings& how, report& into);
void run_append_fresh(const settings& how, report& into);
void run_durable_lines(const settings& how, report& into);
void run_durable_pages(const settings& how, report& into);
void run_echo(const settings& how, report& into);
void run_seen(const settings& how, report& into);

}  // namespace bench
