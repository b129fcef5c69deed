#include "tools/bench/measure.hpp"

#include <pmemstream/pmemstream.hpp>

#include <fmt/format.h>
#include <fmt/os.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

std::string cpu_model() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
        if (line.rfind("model name", 0) == 0)
            return line.substr(line.find(':') + 2);
    return "unknown CPU";
}

std::string machine() {
    utsname name{};
    ::uname(&name);
    return fmt::format("{}, {} CPUs, {} {}", cpu_model(), ::sysconf(_SC_NPROCESSORS_ONLN), name.sysname, name.release);
}

nlohmann::json to_json(const bench::row& r) {
    return {{"workload", r.workload},
            {"variant", r.variant},
            {"payload_bytes", r.payload_bytes},
            {"unit", r.unit},
            {"median", r.median},
            {"min", r.min},
            {"max", r.max},
            {"limit_median", r.limit_median},
            {"ratio", r.ratio},
            {"goal", r.goal > 0 ? nlohmann::json(r.goal) : nlohmann::json(nullptr)}};
}

void print_header() {
    fmt::print("{:<9} {:<24} {:>7}  {:>10} {:>10} {:>10}  {:>10}  {:>6}  {}\n", "workload", "variant", "payload",
               "median", "min", "max", "limit", "ratio", "goal");
}

void print(const bench::row& r) {
    fmt::print("{:<9} {:<24} {:>7}  {:>10.1f} {:>10.1f} {:>10.1f}  {:>10.1f}  {:>6.2f}  {}  {}\n", r.workload,
               r.variant, r.payload_bytes, r.median, r.min, r.max, r.limit_median, r.ratio,
               r.goal > 0 ? fmt::format("<= {:.2f}{}", r.goal, r.missed() ? " missed" : "") : std::string("-"), r.unit);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Measures pmemstream beside the limit of this machine: a raw loop over the same file, in the same run.\n\n"
        "Workloads: append (cost of a committed append), read (a cursor's walk), latency (an echo through two streams\n"
        "between two spinning processes), durable (appends that wait for persisted: as on persistent memory, and on a\n"
        "disk), open (opening a stream whose writer was killed). Without any, all of them run. The ratio is the median "
        "of the ratios of\n"
        "neighbouring repetitions of the thing and its limit; a goal is the greatest ratio that is fine.",
        "pmemstream-bench"};
    app.set_version_flag("--version", PMEMSTREAM_VERSION);
    std::vector<std::string> workloads;
    bench::settings how;
    std::string file, disk_file, json_file;
    std::vector<int> cpus;
    bool check = false;
    app.add_option("WORKLOAD", workloads, "append, read, latency, durable, open")
        ->check(CLI::IsMember({"append", "read", "latency", "durable", "open"}));
    app.add_option("--size", how.sizes, "payload sizes in bytes (append: 8,64,256,1024; others: 64)")
        ->delimiter(',')
        ->check(CLI::Range(1, 1 << 20));
    app.add_option("--file", file, "path of the streams to make (and remove); default in /dev/shm");
    app.add_option("--disk-file", disk_file, "the same for what is to reach a disk; default in /var/tmp");
    app.add_option("--cpu", cpus,
                   "CPUs for the measured thread and the second process (default 0,1 where there are two)")
        ->delimiter(',')
        ->expected(1, 2);
    app.add_option("--repetitions", how.repetitions, "pairs to measure")
        ->check(CLI::Range(5, 1000))
        ->capture_default_str();
    app.add_option("--json", json_file, "write the figures to this file as well, as one JSON object");
    app.add_flag("--check", check, "exit with 1 where a goal is missed");
    CLI11_PARSE(app, argc, argv);

    how.file = file.empty() ? fmt::format("/dev/shm/pmemstream-bench-{}", ::getpid()) : file;
    how.disk_file = disk_file.empty() ? fmt::format("/var/tmp/pmemstream-bench-{}", ::getpid()) : disk_file;
    const bool two_cpus = ::sysconf(_SC_NPROCESSORS_ONLN) >= 2;
    how.cpu = !cpus.empty() ? cpus[0] : two_cpus ? 0 : -1;
    how.other_cpu = cpus.size() > 1 ? cpus[1] : two_cpus ? 1 : -1;
    const auto wanted = [&](const char* name) {
        return workloads.empty() || std::find(workloads.begin(), workloads.end(), name) != workloads.end();
    };

    fmt::print("{}; streams at {}*\n", machine(), how.file.string());
    print_header();
    nlohmann::json report{{"machine", machine()}, {"version", PMEMSTREAM_VERSION}, {"rows", nlohmann::json::array()}};
    bool missed = false;
    try {
        const auto run = [&](const char* name, auto workload, std::vector<std::uint64_t> default_sizes) {
            if (!wanted(name))
                return;
            auto settings = how;
            if (settings.sizes.empty())
                settings.sizes = std::move(default_sizes);
            for (const auto& r : workload(settings)) {
                print(r);
                report["rows"].push_back(to_json(r));
                missed = missed || r.missed();
            }
        };
        run("append", bench::run_append, {8, 64, 256, 1024});
        run("read", bench::run_read, {64});
        run("latency", bench::run_latency, {64});
        run("durable", bench::run_durable, {64});
        run("open", bench::run_open, {64});
    } catch (const std::exception& e) {
        fmt::print(stderr, "pmemstream-bench: {}\n", e.what());
        return 4;
    }
    if (!json_file.empty()) {
        std::ofstream out(json_file);
        out << report.dump(2) << '\n';
        if (!out.flush()) {
            fmt::print(stderr, "pmemstream-bench: cannot write {}\n", json_file);
            return 4;
        }
    }
    return check && missed ? 1 : 0;
}
