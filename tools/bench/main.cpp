#include "tools/bench/interruption.hpp"
#include "tools/bench/options.hpp"
#include "tools/bench/plot.hpp"
#include "tools/bench/progress_bar.hpp"
#include "tools/bench/report.hpp"
#include "tools/common/run.hpp"

#include <fmt/format.h>
#include <cstdio>
#include <stdexcept>

namespace {

constexpr int goal_missed = 8;

int measure(int argc, char** argv) {
    using namespace bench;
    const auto given = parse_options(argc, argv);
    if (!given)
        return 0;
    if (!given->json_file.empty())
        prepare_json(given->json_file);
    if (!given->plot_folder.empty())
        prepare_plots(given->plot_folder);
    interruption::catch_signals();
    report made(look_at_machine(given->how), given->how, given->command);
    try {
        for (std::size_t i = 0; i < given->wanted.size(); ++i) {
            progress_bar::begin(i, given->wanted.size(), std::string(given->wanted[i]->name));
            given->wanted[i]->run(given->how, made);
        }
    } catch (const interruption::interrupted& e) {
        progress_bar::clear();
        return 128 + e.signal;
    } catch (...) {
        progress_bar::clear();
        throw;
    }
    progress_bar::clear();
    if (!given->json_file.empty())
        made.write_json(given->json_file);
    if (!given->plot_folder.empty())
        for (const auto& picture : draw_plots(made, given->plot_folder))
            fmt::print("drawn: {}\n", picture.string());
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw std::runtime_error("standard output cannot be written");
    return given->check && made.missed(given->tolerance) > 0 ? goal_missed : 0;
}

}  // namespace

int main(int argc, char** argv) {
    return pmemstream::tools::run_tool("pmemstream-bench", [&] { return measure(argc, argv); });
}
