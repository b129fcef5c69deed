#pragma once

#include "tests/support/expect.hpp"

#include <unistd.h>
#include <chrono>
#include <string>

namespace pmemstream::test {

/// Polls until `holds()`. False only after so long that it will never hold: a test that hangs tells less.
template <class Condition>
[[nodiscard]] bool eventually(Condition holds) {
    const auto hopeless = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > hopeless)
            return false;
        ::usleep(200);
    }
    return true;
}

/// For child processes, whose assertions nobody counts: ends the process as failed and says why.
inline void demand(bool holds, const std::string& what) {
    if (!holds)
        give_up(what);
}

template <class Condition>
void demand_eventually(Condition holds, const std::string& what) {
    demand(eventually(holds), "never came true: " + what);
}

}  // namespace pmemstream::test
