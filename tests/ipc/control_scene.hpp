#pragma once

#include "tests/ipc/crowd.hpp"

#include <doctest/doctest.h>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace pmemstream::test {

namespace fs = std::filesystem;

/// A stream, its writer in this process, and readers that follow in theirs.
struct scene {
    temp_dir dir;
    fs::path path = dir / "stream";
    fs::path control = control_path(path);
    shared_memory<crowd_board> b;
    std::vector<child> crowd;
    std::uint64_t seed = seed_from_environment();
    std::unique_ptr<writer> w;
    region all;
    std::optional<reader> observer;
    std::optional<crowd_feeder> feed;

    scene() { must(create(path, {.stream_bytes = 16 << 20})); }

    void add(const follower_options& how) {
        crowd.push_back(follower(path, *b, static_cast<unsigned>(crowd.size()), how));
    }
    void open() {
        w = must(writer::open(path));
        all = must(w->allocate(15 << 20, "all"));
        observer.emplace(must(reader::open(path)));
        feed.emplace(*w, all, seed);
    }
    void begin() {
        b->begin = true;
        REQUIRE(eventually([&] { return b->ready == crowd.size(); }));
    }
    [[nodiscard]] bool all_have_seen() const {
        return b->all_have_seen(static_cast<unsigned>(crowd.size()), feed->appended());
    }
    void finish() {
        feed->finish(*b);
        CHECK(all_ended_well(crowd));
        CHECK(all_have_seen());
    }
};

/// Sleeps that end by themselves soon: whoever may write the control file may swallow a wake-up.
inline cursor_options bounded() {
    cursor_options options;
    options.spin = std::chrono::nanoseconds(0);
    options.sleep_max = std::chrono::milliseconds(5);
    return options;
}

}  // namespace pmemstream::test
