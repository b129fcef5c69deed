#include "tools/bench/options.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/help.hpp"
#include "tools/common/output.hpp"
#include "tools/common/text.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>
#include <algorithm>
#include <memory>
#include <pmemstream/version.hpp>

namespace bench {

namespace {

using pmemstream::tools::exit_code;
using pmemstream::tools::fail;
using pmemstream::tools::printable;

constexpr const char* usage = "Usage: pmemstream-bench [WORKLOAD...] [OPTIONS]";

std::string description() {
    std::string text =
        "Measures pmemstream beside the limit of this machine, and beside its peers, by\n"
        "turns in one run. The ratio is the median of the ratios of neighbouring turns;\n"
        "smaller is better, and a goal is the greatest ratio that is fine.\n\n"
        "Workloads (without any: those with a star):\n";
    for (const auto& each : workloads())
        text += fmt::format("  {:<8}{} {}\n", each.name, each.by_default ? "*" : " ", each.what);
    return text;
}

constexpr const char* footer =
    "Examples:\n"
    "  pmemstream-bench                            under two minutes\n"
    "  pmemstream-bench append --size 64,4096 --readers 1000\n"
    "  pmemstream-bench --all --peers --json run.json --plot pictures\n"
    "\n"
    "Exit status:\n"
    "  0  measured\n"
    "  1  usage\n"
    "  4  the system refused: no room, no permission, no gnuplot for --plot\n"
    "  8  with --check: a goal was missed\n"
    "Interrupted: 128 + the signal.";

struct raw_options {
    std::vector<std::string> workloads;
    std::string file;
    std::string disk_file;
    std::vector<int> cpus;
    bool peers = false;
};

void declare(CLI::App& app, options& into, raw_options& raw) {
    app.add_option("WORKLOAD", raw.workloads, "see above");
    app.add_option("--size", into.how.sizes, "payload sizes in bytes (default: each workload's own)")
        ->delimiter(',')
        ->type_name("N,...");
    app.add_option("--file", raw.file, "base name of the files to make, and remove (default: in /dev/shm)")
        ->type_name("PATH");
    app.add_option("--disk-file", raw.disk_file, "the same for what is to reach a disk (default: in /var/tmp)")
        ->type_name("PATH");
    app.add_option("--readers", into.how.readers, "numbers of parked readers (default 1,10,100,1000)")
        ->delimiter(',')
        ->type_name("N,...");
    app.add_option("--rate", into.how.rate, "appends per second where a rate is set (default 100000)")->type_name("N");
    app.add_option("--seconds", into.how.seconds, "how long jitter appends (default 60)")->type_name("S");
    app.add_option("--cpu", raw.cpus, "CPUs of the measured thread and of the second process (default 0,1)")
        ->delimiter(',')
        ->type_name("A,B");
    app.add_option("--repetitions", into.how.repetitions, "pairs to measure, 5 or more (default 7)")->type_name("N");
    app.add_flag("--peers", raw.peers, "beside the default set, other logs and queues");
    app.add_flag("--all", into.how.all, "jitter, peers and 10 million entries too");
    app.add_flag("--quick", into.how.quick,
                 "a hundredth of everything, from 1 repetition (the default then): shows that it works; the figures "
                 "mean nothing");
    app.add_option("--json", into.json_file, "write everything to this file too, as one JSON object")
        ->type_name("FILE");
    app.add_option("--plot", into.plot_folder, "draw pictures into this folder (SVG, by gnuplot)")->type_name("DIR");
    app.add_flag("--check", into.check, "exit with 8 where a goal is missed");
    app.add_option("--tolerance", into.tolerance, "for --check, multiply the goals by this (default 1)")
        ->type_name("X");
}

void set_places(options& into, const raw_options& raw) {
    into.how.file = raw.file.empty() ? fmt::format("/dev/shm/pmemstream-bench-{}", ::getpid()) : raw.file;
    into.how.disk_file =
        !raw.disk_file.empty() ? raw.disk_file : fmt::format("/var/tmp/pmemstream-bench-{}", ::getpid());
    if (into.how.file == into.how.disk_file)
        into.how.disk_file += ".disk";
    for (const auto& file : {into.how.file, into.how.disk_file}) {
        const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
        std::error_code error;
        if (!std::filesystem::is_directory(folder, error))
            fail(exit_code::io, "{}: no such folder", printable(folder.string()));
    }
}

void set_cpus(settings& how, const std::vector<int>& cpus) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    (void)::sched_getaffinity(0, sizeof allowed, &allowed);
    if (cpus.size() > 2)
        fail(exit_code::usage, "--cpu: two CPUs at most (see --help)");
    for (const int cpu : cpus)
        if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(static_cast<unsigned>(cpu), &allowed))
            fail(exit_code::usage, "--cpu {}: this process may not run there", cpu);
    if (cpus.size() == 2 && cpus[0] == cpus[1])
        fail(exit_code::usage, "--cpu {},{}: two different CPUs, for each process spins on its own", cpus[0], cpus[1]);
    std::vector<int> free;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(static_cast<unsigned>(cpu), &allowed))
            free.push_back(cpu);
    if (!cpus.empty())
        how.cpu = cpus[0];
    else if (free.size() >= 2)
        how.cpu = free[0];
    if (cpus.size() == 2) {
        how.other_cpu = cpus[1];
    } else if (free.size() >= 2) {
        how.other_cpu = free[0] == how.cpu ? free[1] : free[0];
    }
}

void check_numbers(const options& given) {
    const settings& how = given.how;
    constexpr std::uint64_t size_max = std::uint64_t{1} << 20;
    for (const auto size : how.sizes)
        if (size < 1 || size > size_max)
            fail(exit_code::usage, "--size {}: from 1 to {}", size, size_max);
    for (const auto count : how.readers)
        if (count < 1 || count > 2000)
            fail(exit_code::usage, "--readers {}: from 1 to 2000, for so many slots has a control file", count);
    if (!(how.rate >= 1 && how.rate <= 1e8))
        fail(exit_code::usage, "--rate {}: from 1 to 100000000 appends per second", how.rate);
    if (!(how.seconds > 0 && how.seconds <= 86'400))
        fail(exit_code::usage, "--seconds {}: more than 0, a day at most", how.seconds);
    const unsigned least = how.quick ? 1 : 5;
    if (how.repetitions < least || how.repetitions > 1000)
        fail(exit_code::usage, "--repetitions {}: from {} to 1000", how.repetitions, least);
    if (!(given.tolerance > 0))
        fail(exit_code::usage, "--tolerance {}: more than 0", given.tolerance);
}

void set_wanted(options& into, const raw_options& raw) {
    for (const auto& name : raw.workloads)
        if (std::none_of(workloads().begin(), workloads().end(), [&](const auto& w) { return w.name == name; }))
            fail(exit_code::usage, "{}: no workload (see --help)", printable(name));
    for (const auto& each : workloads()) {
        const bool named = std::find(raw.workloads.begin(), raw.workloads.end(), each.name) != raw.workloads.end();
        const bool by_set = raw.workloads.empty() && (each.by_default || into.how.all);
        if (named || by_set || (raw.peers && each.name == "peers"))
            into.wanted.push_back(&each);
    }
}

}  // namespace

std::optional<options> parse_options(int argc, char** argv) {
    options into;
    raw_options raw;
    into.command.assign(argv, argv + argc);
    into.command.front() = "pmemstream-bench";
    CLI::App app{description(), "pmemstream-bench"};
    app.formatter(std::make_shared<pmemstream::tools::help_formatter>(usage));
    app.footer(footer);
    app.set_version_flag("--version", "pmemstream-bench " PMEMSTREAM_VERSION);
    declare(app, into, raw);
    const auto print = [](const std::string& text) {
        pmemstream::tools::output out;
        out.put(text);
        out.finish();
    };
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        print(app.help());
        return std::nullopt;
    } catch (const CLI::CallForVersion& e) {
        print(std::string(e.what()) + "\n");
        return std::nullopt;
    } catch (const CLI::ParseError& e) {
        fail(exit_code::usage, "{} (see --help)", printable(e.what()));
    }
    if (into.how.quick && app.count("--repetitions") == 0)
        into.how.repetitions = 1;
    check_numbers(into);
    set_cpus(into.how, raw.cpus);
    set_wanted(into, raw);
    set_places(into, raw);
    return into;
}

}  // namespace bench
