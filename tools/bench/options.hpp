#pragma once

#include "tools/bench/settings.hpp"
#include "tools/bench/workload.hpp"

#include <optional>
#include <string>
#include <vector>

namespace bench {

struct options {
    settings how;
    std::vector<const workload*> wanted;
    std::vector<std::string> command;  ///< as it was typed
    std::string json_file;
    std::string plot_folder;
    bool check = false;
    double tolerance = 1;
};

/// Nothing when the help or the version was asked for and printed. Throws pmemstream::tools::failed.
[[nodiscard]] std::optional<options> parse_options(int argc, char** argv);

}  // namespace bench
