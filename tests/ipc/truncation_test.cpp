// A stream's file that is truncated under cursors in wait(), to a size that leaves them all that they look at: no word
// moves and nothing faults, and still they answer io.
#include "tests/ipc/common.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

struct way {
    const char* name;
    cursor_options cursor = {};
    bool merged = false;
    bool without_control = false;
    std::chrono::nanoseconds timeout = wait_for_ever;
};

template <class Cursor>
int wait_for_io(Cursor cursor, const way& how, shared_memory<std::atomic<bool>>& waits) {
    // Nothing ends a wait that misses it.
    ::alarm(120);
    demand(must(cursor.next()).has_value(), "what is there is shown");
    for (;;) {
        *waits = true;
        const auto got = cursor.wait(how.timeout);
        if (got && !*got && how.timeout != wait_for_ever)
            continue;
        demand(code_of(got) == "io", "the wait ends with io");
        demand(got.error().message().find("truncated") != std::string::npos, "and says why");
        demand(code_of(cursor.next()) == "io", "and it stays so");
        return 0;
    }
}

}  // namespace

TEST_CASE("a file truncated under a wait ends it with io, whatever is left beside the header and however it waits") {
    const way ways[] = {{"asleep"},
                        {"asleep, merged", {}, true},
                        {"spinning", spinning()},
                        {"spinning, merged", spinning(), true},
                        {"without a control file", {}, false, true},
                        {"short timeouts", {}, true, false, std::chrono::milliseconds(3)},
                        {"short timeouts, spinning", spinning(), false, false, std::chrono::milliseconds(3)}};
    for (const std::uint64_t bytes : {8192u, 12'288u, 100'000u})
        for (const auto& how : ways) {
            CAPTURE(bytes);
            CAPTURE(how.name);
            const small_stream stream(1 << 20);
            const auto where = [&] {  // no writer lives on, for which the truncation is a fault
                const auto to = must(writer::open(stream.file));
                const auto all = must(to->allocate(500'000, "all"));
                must(to->append(all, bytes_of("entry")));
                return all;
            }();
            shared_memory<std::atomic<bool>> waits;
            child reading([&] {
                reader_options options;
                options.without_control = how.without_control;
                const auto from = must(reader::open(stream.file, options));
                return how.merged ? wait_for_io(must(from.follow_all(how.cursor)), how, waits)
                                  : wait_for_io(must(from.follow(where, how.cursor)), how, waits);
            });
            while (!*waits)
                ::usleep(100);
            std::filesystem::resize_file(stream.file, bytes);
            const auto end = reading.wait();
            CHECK_FALSE(end.signalled);
            CHECK(end.code == 0);
        }
}
