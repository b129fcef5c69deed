#pragma once

#include "ipc/reader_control.hpp"
#include "src/reader/coalescing.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/cursor.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace pmemstream::core {

/// Where a cursor sleeps and how it is to be seen.
struct waiting_place {
    ipc::reader_control* control = nullptr;
    const std::uint32_t* wake = nullptr;
    std::uint32_t door = 0;
    pmemstream::horizon horizon = pmemstream::horizon::committed;
    ipc::slot_lease* lease = nullptr;
    stream_file* file = nullptr;
    bool look_again = false;  // something may end the wait of which no word tells: next() is to be asked every second
};

/// `limit` from now, without overflow: max stays max, and asks no clock, so that a cursor that spins without a bound is
/// back at its words the sooner.
inline steady::time_point deadline_after(std::chrono::nanoseconds limit) noexcept {
    if (limit == std::chrono::nanoseconds::max())
        return steady::time_point::max();
    const auto now = steady::now();
    return limit > steady::time_point::max() - now ? steady::time_point::max() : now + limit;
}

/// So many bursts of looks take a good part of a second.
constexpr unsigned bursts_max = 1 << 20;

/// Spins until the words moved (true) or `until` has passed, but not longer than about a second at once.
template <class Words>
bool spin(const Words& words, steady::time_point until) noexcept {
    for (unsigned bursts = 0; bursts < bursts_max; ++bursts) {
        // A burst of plain looks between two looks at the clock: what comes is seen within a few nanoseconds.
        for (int i = 0; i < 256; ++i)
            if (words.moved())
                return true;
        relax();
        if (until != steady::time_point::max() && steady::now() >= until)
            return false;
    }
    return false;
}

/// wait() of both cursors. `next()` takes a step; `known()` tells how many bytes, or about, are known to lie before it
/// without another look at the writer's words; `watch()` gives the words that move when looking again is worth it;
/// `keep_registered()` moves over to a control file that was made anew while this slept.
template <class Next, class Known, class Watch, class Register>
result<std::optional<entry>> wait_for(Next next, Known known, Watch watch, Register keep_registered,
                                      const waiting_place& place, const cursor_options& options,
                                      std::chrono::nanoseconds timeout, coalescing& pace) noexcept {
    const bool looks = known() == 0;
    if (looks) {
        const auto paused = pace.pause(timeout);
        if (timeout != std::chrono::nanoseconds::max())
            timeout -= paused;
    }
    auto got = next();
    if (looks)
        pace.looked(got && *got, known());
    if (!got || *got || timeout <= std::chrono::nanoseconds::zero())
        return got;
    const auto deadline = deadline_after(timeout);
    constexpr std::chrono::nanoseconds bound(1'000'000'000);
    const auto longest = options.sleep_max == sleep_for_ever && !place.look_again
                             ? sleep_for_ever
                             : std::clamp(options.sleep_max, std::chrono::nanoseconds(1), bound);
    const auto spin_anew = [&] { return std::min(deadline, deadline_after(options.spin)); };
    auto spin_until = spin_anew();
    unsigned polls = 0;
    for (;;) {
        bool over = false;
        if (options.spin > std::chrono::nanoseconds::zero() && spin(watch(), spin_until)) {
            spin_until = spin_anew();
        } else {
            const auto now = steady::now();
            over = deadline <= now;
            if (!over && spin_until <= now) {
                const auto left =
                    deadline == steady::time_point::max() ? std::chrono::nanoseconds::max() : deadline - now;
                keep_registered();
                place.lease->set_asleep(true);
                place.control->sleep(*place.wake, place.door, place.horizon, watch(), std::min(left, longest), polls);
                place.lease->set_asleep(false);
                spin_until = spin_anew();
            }
        }
        got = next();
        if (!got || *got)
            return got;
        // The words may lie in what a truncation left: then none of them tells of it, and nothing faults.
        if (place.file->is_cut_short())
            return next();
        if (over)
            return got;
    }
}

}  // namespace pmemstream::core
