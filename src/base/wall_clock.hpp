#pragma once

#include <cstdint>
#include <ctime>

namespace pmemstream::base {

/// Nanoseconds since the Unix epoch, for people; nothing is ordered by it.
[[nodiscard]] inline std::uint64_t wall_clock_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace pmemstream::base
