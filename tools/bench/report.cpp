#include "tools/bench/report.hpp"

#include "tools/bench/progress_bar.hpp"

#include <pmemstream/version.hpp>

#include <fmt/format.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

namespace bench {

namespace {

using json = nlohmann::ordered_json;

/// Grows when a key changes its meaning or goes away; new keys leave it as it is.
constexpr int schema_version = 1;

template <class T>
json or_null(const std::optional<T>& value) {
    return value ? json(*value) : json(nullptr);
}

json to_json(const row& r) {
    return {{"workload", r.workload}, {"variant", r.variant},    {"payload_bytes", r.payload_bytes},
            {"unit", r.unit},         {"median", r.median},      {"min", r.min},
            {"max", r.max},           {"limit", r.limit},        {"limit_median", r.limit_median},
            {"ratio", r.ratio},       {"goal", or_null(r.goal)}, {"readers", or_null(r.readers)}};
}

json to_json(const histogram& h) {
    json buckets = json::array();
    h.each_bucket([&](std::uint64_t value, std::uint64_t count) { buckets.push_back({value, count}); });
    return buckets;
}

json to_json(const distribution& d) {
    return {{"workload", d.workload}, {"variant", d.variant},           {"payload_bytes", d.payload_bytes},
            {"unit", "ns"},           {"values", to_json(d.values_ns)}, {"limit_values", to_json(d.limit_ns)}};
}

json to_json(const machine& m) {
    return {{"cpu", m.cpu},
            {"cpus", m.cpus},
            {"kernel", m.kernel},
            {"filesystem", m.filesystem},
            {"granularity", m.granularity},
            {"disk_filesystem", m.disk_filesystem},
            {"disk_granularity", m.disk_granularity}};
}

json to_json(const settings& s) {
    return {{"repetitions", s.repetitions}, {"cpu", s.cpu},    {"other_cpu", s.other_cpu}, {"rate", s.rate},
            {"seconds", s.seconds},         {"quick", s.quick}};
}

json to_json(const peer_note& p) {
    return {{"name", p.name},
            {"guarantee", p.guarantee},
            {"lacks", p.lacks},
            {"left_out", p.left_out.empty() ? json(nullptr) : json(p.left_out)}};
}

template <class T>
json list(const std::vector<T>& all) {
    json made = json::array();
    for (const auto& each : all)
        made.push_back(to_json(each));
    return made;
}

/// One line for each thing that is listed, so that two runs can be compared line by line.
void write_lines(std::ostream& out, const json& all) {
    const char* before = "{";
    for (const auto& [name, value] : all.items()) {
        out << before << "\n " << json(name).dump() << ": ";
        before = ",";
        if (!value.is_array() || value.empty() || !value.front().is_object()) {
            out << value.dump();
            continue;
        }
        const char* between = "[";
        for (const auto& each : value) {
            out << between << "\n  " << each.dump();
            between = ",";
        }
        out << "\n ]";
    }
    out << "\n}\n";
}

[[noreturn]] void throw_not_written(const std::filesystem::path& file) {
    throw std::system_error(errno != 0 ? errno : EIO, std::generic_category(), "writing " + file.string());
}

}  // namespace

report::report(bench::machine where, settings how, std::vector<std::string> command)
    : machine_(std::move(where)), settings_(std::move(how)), command_(std::move(command)) {
    fmt::print("{}\n", describe(machine_));
    fmt::print("{:<8} {:<46} {:>7} {:>11} {:>11} {:>11} {:>11} {:>6}  {}\n", "workload", "variant", "payload", "median",
               "min", "max", "limit", "ratio", "goal");
    std::fflush(stdout);
}

void report::add(row made) {
    progress_bar::clear();
    const std::string goal = made.goal ? fmt::format("<= {:.2f}{}", *made.goal, made.missed() ? " missed" : "") : "-";
    fmt::print("{:<8} {:<46} {:>7} {:>11.1f} {:>11.1f} {:>11.1f} {:>11.1f} {:>6}  {:<14} {}\n", made.workload,
               made.variant, made.payload_bytes, made.median, made.min, made.max, made.limit_median, shown_ratio(made),
               goal, made.unit);
    std::fflush(stdout);
    rows_.push_back(std::move(made));
}

void report::add(peer_note about) {
    progress_bar::clear();
    if (!about.left_out.empty())
        fmt::print("peers    {}: left out: {}\n", about.name, about.left_out);
    else
        fmt::print("peers    {} ({}): does not {}\n", about.name, about.guarantee, about.lacks);
    std::fflush(stdout);
    peers_.push_back(std::move(about));
}

std::size_t report::missed(double tolerance) const noexcept {
    return static_cast<std::size_t>(
        std::count_if(rows_.begin(), rows_.end(), [&](const row& r) { return r.missed(tolerance); }));
}

void prepare_json(const std::filesystem::path& file) {
    std::error_code unknown;
    const auto there = std::filesystem::status(file, unknown).type();
    // A pipe's reader would take the closing for the end.
    if (there != std::filesystem::file_type::not_found && there != std::filesystem::file_type::regular)
        return;
    errno = 0;
    if (!std::ofstream(file, std::ios::app))
        throw_not_written(file);
    if (there == std::filesystem::file_type::not_found)
        std::filesystem::remove(file, unknown);
}

void report::write_json(const std::filesystem::path& file) const {
    const json all{{"schema", schema_version},      {"tool", "pmemstream-bench"},
                   {"version", PMEMSTREAM_VERSION}, {"command", command_},
                   {"machine", to_json(machine_)},  {"settings", to_json(settings_)},
                   {"rows", list(rows_)},           {"distributions", list(distributions_)},
                   {"peers", list(peers_)}};
    errno = 0;
    std::ofstream out(file);
    write_lines(out, all);
    if (!out.flush())
        throw_not_written(file);
}

}  // namespace bench
