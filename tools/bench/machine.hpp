#pragma once

#include "tools/bench/settings.hpp"

#include <string>

namespace bench {

/// Where the figures were made.
struct machine {
    std::string cpu;
    long cpus = 0;
    std::string kernel;
    std::string filesystem;       ///< of the streams
    std::string granularity;      ///< as a stream there sees it
    std::string disk_filesystem;  ///< of those that are to reach a disk
    std::string disk_granularity;
};

/// Makes (and removes) a small stream in each place. Throws where none can be made.
[[nodiscard]] machine look_at_machine(const settings& how);
/// One line.
[[nodiscard]] std::string describe(const machine& where);

}  // namespace bench
