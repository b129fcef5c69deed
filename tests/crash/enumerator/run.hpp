#pragma once

#include "src/base/mutant.hpp"
#include "tests/crash/enumerator/explorer.hpp"
#include "tests/crash/enumerator/workloads.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace pmemstream::test {

/// What reaches the medium in one piece, and how it is asked to.
enum class medium_kind : std::uint8_t {
    lines,    ///< persistent memory: cache lines, flush and drain
    sectors,  ///< a file: sectors of 512 bytes, msync
    kernel,   ///< the same, of what the kernel really wrote and synced (FUSE), not of the stores
};
/// Those on which every store is recorded.
inline constexpr std::array media{medium_kind::lines, medium_kind::sectors};
[[nodiscard]] const char* to_string(medium_kind on);

struct run_request {
    const workload* what = nullptr;
    medium_kind on = medium_kind::lines;
    std::uint64_t seed = 0;
    std::uint64_t images_wanted = 1;
    bool thorough = true;
    base::mutant with = base::mutant::none;
};

/// For shared memory.
struct run_result {
    static constexpr std::size_t failure_max = 2000;
    exploration_counts counts;
    unsigned rounds = 0;
    std::uint64_t kernel_writes = 0;
    std::uint64_t kernel_syncs = 0;
    double seconds = 0;
    char failure[failure_max + 1] = {};
};

/// Records and explores the workload again and again, each time with another seed, until enough distinct images were
/// seen. In a process of its own: the environment and hooks of the library are changed.
void run(const run_request& request, run_result& result);

}  // namespace pmemstream::test
