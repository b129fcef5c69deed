#pragma once

#include "tests/support/child.hpp"
#include "tests/support/entry_plan.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/shared_memory.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_numbers.hpp"

#include <pmemstream/pmemstream.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

// What the tests with real processes share.
namespace pmemstream::test {

/// Readers that have nothing but the doorbell: no spinning, and no sleep that ends by itself.
inline cursor_options doorbell_only() {
    cursor_options options;
    options.spin = std::chrono::nanoseconds(0);
    options.sleep_max = sleep_for_ever;
    return options;
}

inline cursor_options spinning() {
    cursor_options options;
    options.spin = spin_for_ever;
    return options;
}

/// How many cursors of the process `pid` (0: of any) say that they sleep.
inline unsigned asleep(const reader& observer, pid_t pid = 0) {
    const auto all = must(observer.registered());
    return static_cast<unsigned>(std::count_if(all.begin(), all.end(), [pid](const registered_reader& r) {
        return r.alive && r.asleep && (pid == 0 || r.pid == static_cast<std::uint32_t>(pid));
    }));
}

inline std::filesystem::path control_path(const std::filesystem::path& stream) {
    return stream.string() + ".ctl";
}

/// The children ended well, every one.
inline bool all_ended_well(std::vector<child>& children) {
    bool well = true;
    for (auto& c : children) {
        const auto end = c.wait();
        well = well && !end.signalled && end.code == 0;
    }
    return well;
}

}  // namespace pmemstream::test
