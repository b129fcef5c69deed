#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>

namespace pmemstream::test {

/// `rounds`, scaled by the percentage in PMEMSTREAM_TEST_SCALE; never none.
[[nodiscard]] inline std::uint64_t scaled(std::uint64_t rounds) {
    const char* text = std::getenv("PMEMSTREAM_TEST_SCALE");
    const std::uint64_t percent = text == nullptr ? 100 : std::strtoull(text, nullptr, 10);
    return std::max<std::uint64_t>(1, rounds * percent / 100);
}

/// PMEMSTREAM_SEED, or a fresh one. The caller prints it.
[[nodiscard]] inline std::uint64_t seed_from_environment() {
    if (const char* text = std::getenv("PMEMSTREAM_SEED"))
        return std::strtoull(text, nullptr, 0);
    return std::random_device()();
}

}  // namespace pmemstream::test
