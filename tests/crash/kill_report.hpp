#pragma once

#include "tests/support/test_payloads.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

// What kill_writer tells the test, step by step, through a pipe; and what both know about payloads.
namespace pmemstream::test {

enum class report_kind : std::uint32_t {
    // Before a step, so that the test knows what may be half done:
    about_to_open,
    about_to_append,    ///< region, number: of the first entry, value: how many, all by one commit store
    about_to_allocate,  ///< region
    about_to_free,      ///< region
    about_to_clear,     ///< region
    about_to_persist,
    about_to_close,
    // After it returned:
    opened,     ///< number: recovery_report::state, value: epoch
    appended,   ///< region, number, value: as before; extra: sequence of the last
    allocated,  ///< region; value: generation
    freed,      ///< region
    cleared,    ///< region; value: generation
    persisted,  ///< value: everything up to this sequence
    closed,
    // A look at the whole stream:
    look_begins,
    look_region,  ///< region; value: generation
    look_entry,   ///< of that region; number: digest of the payload, value: sequence, extra: generation of
                  ///< entry.where()
    look_merged,  ///< number: digest, value: sequence, extra: generation
    look_ends,
};

struct report {
    report_kind kind{};
    std::uint32_t region = 0;
    std::uint64_t number = 0;
    std::uint64_t value = 0;
    std::uint64_t extra = 0;
};
static_assert(sizeof(report) == 32);  // far below PIPE_BUF: written whole or not at all

[[nodiscard]] inline std::string kill_region_name(std::uint32_t region) {
    return "region " + std::to_string(region);
}

/// Of entry `number`: mostly short, the boundary sizes among them, now and then longer than a block.
[[nodiscard]] inline std::vector<std::byte> kill_payload(std::uint64_t seed, std::uint64_t number) {
    static constexpr std::size_t sizes[] = {0, 1, 7, 8, 9, 16, 24, 40, 48, 63, 64, 100, 128, 200, 777, 5000};
    const std::uint64_t choice = mixed(seed + 31 * number);
    // Only one in 32 is one of the two longest.
    const std::size_t bytes = choice % 32 == 0 ? sizes[14 + choice / 32 % 2] : sizes[choice / 32 % 14];
    return numbered_payload(seed, number, bytes);
}

[[nodiscard]] inline std::uint64_t digest(std::span<const std::byte> payload) {
    std::uint64_t state = mixed(payload.size());
    for (const std::byte b : payload)
        state = (state ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3;
    return mixed(state);
}

}  // namespace pmemstream::test
