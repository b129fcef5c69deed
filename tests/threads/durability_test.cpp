// Threads of the writer's process that wait for *persisted*, beside one that appends and changes regions, a policy in the
// background, and readers on the persisted horizon.
#include "tests/support/entry_plan.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_numbers.hpp"
#include "tests/threads/team.hpp"

#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>
#include <sched.h>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

constexpr entry_plan plan(5, 80);

void run(const writer_options& options) {
    const temp_dir dir;
    const auto path = dir / "stream";
    must(create(path, {.stream_bytes = 24 << 20, .block_bytes = 256}));
    const auto w = must(writer::open(path, options));
    const auto all = must(w->allocate(16 << 20, "all"));
    const std::uint64_t entries = scaled(3000);
    std::mutex appending;
    std::uint64_t appended = 0;  // under appending
    std::atomic<std::uint64_t> seen{0};
    team threads;
    for (unsigned self = 0; self < 3; ++self)
        threads.add([&, self] {
            payload_buffer buffer;
            for (;;) {
                sequence given{};
                {
                    const std::lock_guard lock(appending);
                    if (appended == entries)
                        return;
                    given = must(self == 0 ? w->append(all, buffer.make(plan, appended), horizon::persisted)
                                           : w->append(all, buffer.make(plan, appended)));
                    ++appended;
                }
                if (self == 1)
                    demand(must(w->wait_persisted(given)), "a wait for ever ends with the entry persisted");
                else
                    (void)must(w->wait_persisted(given, std::chrono::microseconds(self == 0 ? 0 : 50)));
                demand(self == 2 || must(w->describe(all)).persisted >= given, "what was waited for is persisted");
                demand(w->persisted() <= w->committed(), "persisted does not pass committed");
            }
        });
    // Regions come and go: each change keeps the flushing away while it lasts.
    threads.add([&] {
        for (unsigned i = 0; i < scaled(150); ++i) {
            const std::lock_guard lock(appending);
            const auto passing = must(w->allocate(4000));
            (void)must(w->append(passing, as_bytes(std::span("passes"))));
            if (i % 2 == 0)
                must(w->free(passing));
            else
                must(w->free(must(w->clear(passing))));
            sched_yield();
        }
    });
    threads.add([&] {
        const auto from = must(reader::open(path));
        cursor_options options_of_cursor;
        options_of_cursor.horizon = horizon::persisted;
        options_of_cursor.check_crc = true;
        auto cursor = must(from.follow(all, options_of_cursor));
        for (std::uint64_t next = 0; next < entries; ++next) {
            const auto got = must(cursor.wait());
            demand(got.has_value() && plan.matches(got->payload(), next), "every entry once, in order, whole");
            demand(to_uint(must(from.describe(all)).persisted_end) >= to_uint(got->end()), "only what is persisted");
            seen = next + 1;
        }
    });
    // The last entries may have been left to others, or to nobody.
    while (seen < entries && !threads.failed) {
        bool done = false;
        {
            const std::lock_guard lock(appending);
            done = appended == entries;
        }
        if (done)
            must(w->persist());
        sched_yield();
    }
    CHECK(threads.join() == "");
    must(w->persist());
    CHECK(w->persisted() == w->committed());
    must(w->close());
}

}  // namespace

TEST_CASE("threads wait for persisted beside one that appends, a policy and changing regions: pages") {
    writer_options options;
    options.policy.every = std::chrono::milliseconds(1);
    run(options);
    options.policy = {std::chrono::milliseconds(0), 4096};
    options.pretouch_ahead_bytes = 1 << 20;
    run(options);
    run({});
}

TEST_CASE("threads wait for persisted beside one that appends, a policy and changing regions: cache lines") {
    ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
    writer_options options;
    options.policy.every = std::chrono::milliseconds(1);
    run(options);
    run({});
    ::unsetenv("PMEM2_FORCE_GRANULARITY");
}
