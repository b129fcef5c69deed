// The longest gaps of a thread that does nothing but append, seen on the clock after every entry. The limit is the same
// thread looking at the clock only: those gaps are the machine's.
#include "tools/bench/follower.hpp"
#include "tools/bench/histogram.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/percentiles.hpp"

namespace bench {

void run_jitter(const settings& how, report& into) {
    using namespace pmemstream;
    const std::uint64_t size = how.sizes.empty() ? 64 : how.sizes.front();
    const std::uint64_t region_bytes = how.bytes(std::uint64_t{64} << 20);
    // The appending thread's share of the time is `seconds` in all, and so is that of the limit.
    const auto slice_ns = static_cast<std::uint64_t>(how.seconds * 1e9 / how.repetitions);
    const scratch_stream stream(how.file, region_bytes + (std::uint64_t{1} << 20));
    pin(how.cpu);
    const auto to = must(writer::open(stream.file()));
    auto where = must(to->allocate(region_bytes, "entries"));
    const auto payload = payload_of(size);
    const std::uint64_t fit = region_bytes / entry_bytes(size);
    if (fit == 0)
        throw std::runtime_error("jitter: no entry of that size fits in the region");
    for (std::uint64_t i = 0; i < fit; ++i)  // touched
        append_to(*to, where, payload);

    std::vector<double> longest, limit_longest;
    percentile_rows rows("jitter", "gap", size, "ns", "spinning on the clock");
    const auto gaps = [&](bool appending, std::vector<double>& maxima, histogram& times) {
        times.clear();
        const std::uint64_t end = now_ns() + slice_ns;
        for (std::uint64_t last = now_ns(); last < end;) {
            if (appending)
                where = must(to->clear(where));
            last = now_ns();  // emptying the region is no gap
            for (std::uint64_t i = 0; i < fit && last < end; ++i) {
                if (appending)
                    append_to(*to, where, payload);
                const std::uint64_t now = now_ns();
                times.record(now - last);
                last = now;
            }
        }
        maxima.push_back(static_cast<double>(times.max()));
    };
    rows.measure(
        how.repetitions, [&](histogram& times) { gaps(true, longest, times); },
        [&](histogram& times) { gaps(false, limit_longest, times); });
    rows.add_to(into, {});
    longest.erase(longest.begin());  // of the round that only warms up
    limit_longest.erase(limit_longest.begin());
    row r{.workload = "jitter", .variant = "longest gap", .payload_bytes = size, .unit = "ns"};
    r.limit = "spinning on the clock";
    into.add(summarized(r, longest, limit_longest));
}

}  // namespace bench
