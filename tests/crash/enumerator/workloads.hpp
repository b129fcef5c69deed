#pragma once

#include "tests/crash/enumerator/stage.hpp"

#include <span>
#include <string_view>

namespace pmemstream::test {

/// What is done to a stream, recorded from stage::from_here() on.
struct workload {
    std::string_view name;
    std::string_view what;
    void (*run)(stage&);
    /// Changes the fresh stream before anything is done to it; null: nothing.
    void (*before)(image&) = nullptr;
    bool words_at_once = false;     ///< every round writes the persisted words, as the housekeeper does now and then
    bool threads = false;           ///< for the kernel alone: a recorder of stores follows one thread
    unsigned stores_per_point = 1;  ///< where they are very many: only one in so many is looked at
};
[[nodiscard]] std::span<const workload> workloads();

/// What the next writer does, whatever it finds.
void go_on_after_crash(stage& s);

}  // namespace pmemstream::test
