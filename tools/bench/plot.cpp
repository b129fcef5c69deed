#include "tools/bench/plot.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace bench {

namespace {

bool on_path(const std::string& program) {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (::access((folder + "/" + program).c_str(), X_OK) == 0)
            return true;
    return false;
}

std::string quoted(const std::string& text) {
    std::string made = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            made += '\\';
        made += c;
    }
    return made + '"';
}

/// Lines of one picture: a title, and points.
struct curve {
    std::string title{};
    std::string points{};
};

struct picture {
    std::filesystem::path file{};
    std::string title{};
    std::string x{};
    std::string y{};
    std::string settings{};
    std::string style{};
    std::vector<curve> curves{};
};

void draw(const picture& what) {
    std::string script = "set terminal svg size 800,500 background 'white' font 'sans,12' noenhanced\n";
    script +=
        fmt::format("set output {}\nset title {}\nset xlabel {}\nset ylabel {}\nset grid\n{}\n",
                    quoted(what.file.string()), quoted(what.title), quoted(what.x), quoted(what.y), what.settings);
    for (std::size_t i = 0; i < what.curves.size(); ++i)
        script += fmt::format("$curve{} << END\n{}END\n", i, what.curves[i].points);
    script += "plot ";
    for (std::size_t i = 0; i < what.curves.size(); ++i)
        script += fmt::format("{}$curve{} using 1:2 with {} title {}", i == 0 ? "" : ", ", i, what.style,
                              quoted(what.curves[i].title));
    script += "\n";
    std::FILE* const gnuplot = ::popen("gnuplot", "w");
    if (gnuplot == nullptr)
        throw std::system_error(errno, std::generic_category(), "starting gnuplot");
    const bool told = std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
    if (const int status = ::pclose(gnuplot); status != 0 || !told)
        throw std::runtime_error(fmt::format("gnuplot could not draw {} (status {})", what.file.string(), status));
}

/// How many values lie in each of a few steps per doubling: the histogram's own are too fine to look at.
std::string drawn(const histogram& values) {
    constexpr double steps = 8;
    std::map<int, std::uint64_t> counts;
    values.each_bucket([&](std::uint64_t value, std::uint64_t count) {
        counts[static_cast<int>(std::log2(static_cast<double>(std::max<std::uint64_t>(value, 1))) * steps)] += count;
    });
    std::string points{};
    for (const auto& [step, count] : counts)
        points += fmt::format("{:.6g} {}\n", std::exp2((step + 0.5) / steps), count);
    return points;
}

}  // namespace

void prepare_plots(const std::filesystem::path& folder) {
    if (!on_path("gnuplot"))
        throw std::runtime_error("--plot needs gnuplot, which is not installed (Debian: apt-get install gnuplot-nox)");
    std::filesystem::create_directories(folder);
}

std::vector<std::filesystem::path> draw_plots(const report& what, const std::filesystem::path& folder) {
    picture latency{.file = folder / "latency.svg",
                    .title = "How long it takes",
                    .x = "ns",
                    .y = "how often",
                    .settings = "set logscale xy",
                    .style = "linespoints pointsize 0.4"};
    for (const auto& d : what.distributions()) {
        if (d.workload != "latency")
            continue;
        const std::string name = fmt::format("{}, {} bytes", d.variant, d.payload_bytes);
        latency.curves.push_back({name, drawn(d.values_ns)});
        latency.curves.push_back({name + ": limit", drawn(d.limit_ns)});
    }
    picture throughput{.file = folder / "throughput.svg",
                       .title = "Entries per second by size",
                       .x = "payload bytes",
                       .y = "entries/s",
                       .settings = "set logscale x 2\nset logscale y\nset key left bottom",
                       .style = "linespoints"};
    picture readers{.file = folder / "readers.svg",
                    .title = "Appending beside parked readers",
                    .x = "readers",
                    .y = "CPU ns of the writer per entry",
                    .settings = "set logscale x\nset yrange [0:*]\nset key right bottom",
                    .style = "linespoints"};
    std::map<std::string, std::pair<std::string, std::string>> by_size;  // points of ours and of the limit
    std::string beside, alone;
    for (const auto& r : what.rows()) {
        if (r.unit == "ns/entry" && (r.workload == "append" || r.workload == "stream" || r.workload == "read")) {
            auto& [ours, limit] = by_size[r.workload + ", " + r.variant];
            ours += fmt::format("{} {:.6g}\n", r.payload_bytes, 1e9 / r.median);
            limit += fmt::format("{} {:.6g}\n", r.payload_bytes, 1e9 / r.limit_median);
        }
        if (r.readers && r.variant.find("parked") != std::string::npos) {
            beside += fmt::format("{} {:.6g}\n", *r.readers, r.median);
            alone += fmt::format("{} {:.6g}\n", *r.readers, r.limit_median);
        }
    }
    for (const auto& [name, points] : by_size) {
        if (std::count(points.first.begin(), points.first.end(), '\n') < 2)
            continue;  // of one size
        throughput.curves.push_back({name, points.first});
        throughput.curves.push_back({name + ": limit", points.second});
    }
    if (!beside.empty())
        readers.curves = {{"beside readers", beside}, {"alone", alone}};

    std::vector<std::filesystem::path> made;
    for (const auto* const one : {&latency, &throughput, &readers}) {
        if (one->curves.empty())
            continue;
        draw(*one);
        made.push_back(one->file);
    }
    return made;
}

}  // namespace bench
