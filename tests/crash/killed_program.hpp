#pragma once

#include "tests/crash/kill_report.hpp"
#include "tests/support/child.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pmemstream::test {

/// kill_writer as a process of its own, and the pipe through which it reports.
class killed_program {
public:
    using environment = std::vector<std::pair<std::string, std::string>>;

    /// "{fd}" among the words becomes the number of the pipe.
    explicit killed_program(std::vector<std::string> words, const environment& with = {});
    ~killed_program();
    killed_program(const killed_program&) = delete;
    killed_program& operator=(const killed_program&) = delete;

    /// The next report; nothing when the process is gone and all is read. What it told before a SIGKILL arrives.
    [[nodiscard]] std::optional<report> next() const;
    void kill();
    child_exit wait();

private:
    int read_ = -1;
    int write_ = -1;
    std::optional<child> process_;
};

/// Dies at the `times`-th visit of that point.
[[nodiscard]] inline killed_program::environment dies_at(base::kill_point point, std::uint64_t times) {
    return {{"PMEMSTREAM_KILL", std::to_string(static_cast<unsigned>(point)) + ":" + std::to_string(times)}};
}

}  // namespace pmemstream::test
