#include "tests/crash/enumerator/mutants.hpp"
#include "tests/crash/enumerator/run.hpp"
#include "tests/support/child.hpp"
#include "tests/support/shared_memory.hpp"
#include "tests/support/test_numbers.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// Proves recovery by enumeration: see "How this is tested" in docs/guarantees.md.

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

constexpr unsigned processes = 2;
constexpr const char* usage =
    "crash_enumerator [--budget IMAGES] [--workload NAME] [--seed N] [--medium lines|sectors|kernel]\n"
    "                 [--mutants | --mutant NAME]\n";

struct arguments {
    std::uint64_t budget = 0;
    std::uint64_t seed = 0;
    std::string workload;
    std::string mutant;
    bool mutants = false;
    std::vector<medium_kind> on{media.begin(), media.end()};
};

medium_kind medium_named(std::string_view name) {
    for (const auto on : {medium_kind::lines, medium_kind::sectors, medium_kind::kernel})
        if (name == to_string(on))
            return on;
    throw std::invalid_argument(usage);
}

arguments parse(int argc, char** argv) {
    arguments got;
    got.seed = seed_from_environment() >> 1;
    const auto number = [](const std::string& text) {
        std::uint64_t value = 0;
        const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (code != std::errc() || rest != text.data() + text.size())
            throw std::invalid_argument(text + " is no number");
        return value;
    };
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--mutants") {
            got.mutants = true;
            continue;
        }
        if (i + 1 == argc)
            throw std::invalid_argument(usage);
        const std::string value = argv[++i];
        if (name == "--budget")
            got.budget = number(value);
        else if (name == "--seed")
            got.seed = number(value);
        else if (name == "--workload")
            got.workload = value;
        else if (name == "--medium")
            got.on = {medium_named(value)};
        else if (name == "--mutant")
            got.mutant = value;
        else
            throw std::invalid_argument(usage);
    }
    return got;
}

struct job {
    run_request request;
    std::unique_ptr<shared_memory<run_result>> result = std::make_unique<shared_memory<run_result>>();
    std::unique_ptr<child> process;
};

/// In processes of their own, some at a time: a fault of one ends only that one, and each has its own environment.
void run_all(std::vector<job>& jobs) {
    std::size_t next = 0;
    std::vector<job*> running;
    while (next < jobs.size() || !running.empty()) {
        while (running.size() < processes && next < jobs.size()) {
            auto& j = jobs[next++];
            j.process = std::make_unique<child>([&j] {
                run(j.request, **j.result);
                return 0;
            });
            running.push_back(&j);
        }
        std::erase_if(running, [](job* j) {
            const auto end = j->process->poll();
            if (end && (end->signalled || end->code != 0)) {
                fmt::format_to_n((*j->result)->failure, run_result::failure_max, "ended by {} {}",
                                 end->signalled ? "signal" : "exit", end->code);
            }
            return end.has_value();
        });
        ::poll(nullptr, 0, 2);
    }
}

std::string title(const run_request& of) {
    return fmt::format("{} ({})", of.what->name, to_string(of.on));
}

int enumerate(const arguments& with) {
    std::vector<job> jobs;
    for (const auto& w : workloads())
        for (const auto on : with.on)
            if ((with.workload.empty() || with.workload == w.name) && (!w.threads || on == medium_kind::kernel))
                jobs.emplace_back().request = {.what = &w, .on = on, .seed = with.seed};
    if (jobs.empty())
        throw std::invalid_argument("no such workload, or not on this medium: " + with.workload);
    for (auto& j : jobs) {
        const std::uint64_t each = scaled(j.request.on == medium_kind::kernel ? 5'000 : 8'000);
        j.request.images_wanted = with.budget != 0 ? std::max<std::uint64_t>(with.budget / jobs.size(), 1) : each;
        j.request.thorough = scaled(100) >= 100;
    }
    fmt::print("seed {}\n", with.seed);
    run_all(jobs);
    exploration_counts sum;
    int failures = 0;
    for (const auto& j : jobs) {
        const auto& got = **j.result;
        const auto& c = got.counts;
        fmt::print(
            "{:<32} {:>8} images at {:>7} points ({:>6} exhaustive), {:>6} deaths, {:>6} lost pages, {:>5} crashed "
            "again, {:.1f} s\n",
            title(j.request), c.images, c.points, c.exhaustive, c.deaths, c.lost_pages, c.second_crashes, got.seconds);
        if (j.request.on == medium_kind::kernel)
            fmt::print("{:>32} {:>8} writes and {} syncs of the kernel's\n", "of", got.kernel_writes, got.kernel_syncs);
        sum.images += c.images;
        sum.points += c.points;
        sum.deaths += c.deaths;
        sum.lost_pages += c.lost_pages;
        if (got.failure[0] != '\0') {
            ++failures;
            fmt::print("FAILED, seed {}: {}: {}\n", with.seed, title(j.request), got.failure);
        }
    }
    fmt::print(
        "{} distinct images at {} points, {} deaths of the process, {} of them with pages lost, {} failures; seed {}\n",
        sum.images, sum.points, sum.deaths + sum.lost_pages, sum.lost_pages, failures, with.seed);
    return failures == 0 ? 0 : 1;
}

const workload& named(std::string_view name) {
    for (const auto& w : workloads())
        if (w.name == name)
            return w;
    throw std::invalid_argument(fmt::format("no such workload: {}", name));
}

/// Each mutant must make its workload fail, on one medium at least.
int kill_mutants(const arguments& with) {
    std::vector<job> jobs;
    std::vector<const mutant_case*> cases;
    // What the kernel happens to write back unasked is left to chance, and for some mutants it takes many tries. Only one
    // that survives costs all of them.
    const std::uint64_t usual_budget = with.on.front() == medium_kind::kernel ? 400'000 : 40'000;
    for (const auto& m : mutant_cases()) {
        if (with.mutant.empty() ? with.on.front() == medium_kind::kernel && !m.is_for_kernel() : with.mutant != m.name)
            continue;
        cases.push_back(&m);
        for (const auto on : with.on)
            jobs.emplace_back().request = {.what = &named(with.workload.empty() ? m.workload : with.workload),
                                           .on = on,
                                           .seed = with.seed,
                                           .images_wanted = with.budget != 0 ? with.budget : usual_budget,
                                           .with = m.which};
    }
    fmt::print("seed {}\n", with.seed);
    run_all(jobs);
    int survivors = 0;
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const job* const pair = &jobs[i * with.on.size()];
        bool noticed = false;
        for (std::size_t k = 0; k < with.on.size(); ++k) {
            const std::string_view failure = (**pair[k].result).failure;
            noticed = noticed || !failure.empty();
            fmt::print("{:<28} {:<32} {}\n", cases[i]->name, title(pair[k].request),
                       failure.empty() ? "not noticed" : failure.substr(0, failure.find('\n')));
        }
        survivors += noticed ? 0 : 1;
        if (!noticed)
            fmt::print("SURVIVES: {}\n", cases[i]->name);
    }
    fmt::print("{} mutants, {} survive; seed {}\n", cases.size(), survivors, with.seed);
    return survivors == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto with = parse(argc, argv);
        return with.mutants || !with.mutant.empty() ? kill_mutants(with) : enumerate(with);
    } catch (const std::exception& e) {
        fmt::print(stderr, "crash_enumerator: {}\n", e.what());
        return 2;
    }
}
