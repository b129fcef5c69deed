#pragma once

#include "tests/ipc/common.hpp"

#include <array>
#include <functional>
#include <random>

// Readers in processes of their own that follow a region named "all" and know what every entry of it must be.
namespace pmemstream::test {

inline constexpr unsigned crowd_max = 16;
inline constexpr entry_plan crowd_plan(11, 100);

/// What the followers tell. `planned` entries are the end.
struct crowd_board {
    std::atomic<bool> begin{false};
    std::atomic<unsigned> ready{0};
    std::atomic<std::uint64_t> planned{~std::uint64_t{0}};
    std::array<std::atomic<std::uint64_t>, crowd_max> seen{};
    std::array<std::atomic<control_state>, crowd_max> control{};
    std::array<std::atomic<bool>, crowd_max> registered{};

    [[nodiscard]] bool all_have_seen(unsigned readers, std::uint64_t entries) const {
        return std::all_of(seen.begin(), seen.begin() + readers, [entries](const auto& s) { return s >= entries; });
    }
};

struct follower_options {
    cursor_options cursor = doorbell_only();
    bool merged = false;
    /// How long a wait lasts; one that ends without an entry is fine.
    std::chrono::nanoseconds timeout = wait_for_ever;
    /// Run in the process before the stream is opened, and once the cursor is there.
    std::function<void()> before = {};
    std::function<void(const reader&)> once_open = {};
    std::filesystem::path path = {};  // instead of the stream's
};

template <class Cursor>
void follow_plan(const reader& from, Cursor cursor, crowd_board& b, unsigned self, const follower_options& how) {
    b.registered[self] = cursor.registered();
    b.control[self] = from.control();
    ++b.ready;
    sequence last = sequence::none;
    for (std::uint64_t next = 0; next < b.planned;) {
        const auto got = must(cursor.wait(how.timeout));
        b.control[self] = from.control();
        if (!got) {
            demand(how.timeout != wait_for_ever, "a wait for ever ends with an entry");
            continue;
        }
        demand(crowd_plan.matches(got->payload(), next), "entry " + std::to_string(next) + " comes next, whole");
        demand(got->sequence() > last, "sequences increase");
        last = got->sequence();
        b.seen[self] = ++next;
    }
}

/// A process that follows from the first entry to the last that is planned.
inline child follower(const std::filesystem::path& stream, crowd_board& b, unsigned self,
                      const follower_options& how = {}) {
    return child([&b, self, how, path = how.path.empty() ? stream : how.path] {
        demand_eventually([&] { return b.begin.load(); }, "the region is there");
        if (how.before)
            how.before();
        const auto from = must(reader::open(path));
        if (how.once_open)
            how.once_open(from);
        if (how.merged)
            follow_plan(from, must(from.follow_all(how.cursor)), b, self, how);
        else
            follow_plan(from, must(from.follow(must(from.find("all")), how.cursor)), b, self, how);
        return 0;
    });
}

/// Appends what the followers expect, at an uneven pace.
class crowd_feeder {
public:
    crowd_feeder(writer& to, region where, std::uint64_t seed) : to_(to), where_(where), random_(seed) {}

    void append(std::uint64_t entries) {
        for (; entries > 0; --entries) {
            (void)must(to_.append(where_, buffer_.make(crowd_plan, appended_)));
            ++appended_;
        }
    }

    /// With pauses in which readers go to sleep.
    void append_unevenly(std::uint64_t entries) {
        while (entries > 0) {
            const std::uint64_t burst = std::min<std::uint64_t>(entries, 1 + random_() % 50);
            append(burst);
            entries -= burst;
            switch (random_() % 4) {
                case 0:
                    ::usleep(static_cast<useconds_t>(random_() % 200));
                    break;
                case 1:
                    ::usleep(0);
                    break;
                default:
                    break;
            }
        }
    }

    [[nodiscard]] std::uint64_t appended() const noexcept { return appended_; }

    /// Appends one more, which ends the followers.
    void finish(crowd_board& b) {
        b.planned = appended_ + 1;
        append(1);
    }

private:
    writer& to_;
    region where_;
    std::mt19937_64 random_;
    payload_buffer buffer_;
    std::uint64_t appended_ = 0;
};

}  // namespace pmemstream::test
