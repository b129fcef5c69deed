#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/beside_raw.hpp"

namespace bench {

namespace {

using namespace pmemstream;

template <bool Crc>
double raw_appends(const raw_log& to, std::span<const std::byte> payload, std::uint64_t entries) {
    std::uint64_t position = 0;
    const auto begin = clock::now();
    for (std::uint64_t i = 1; i <= entries; ++i)
        position = Crc ? raw_append_with_crc(to, position, payload, i) : raw_append(to, position, payload, i);
    return ns_since(begin) / static_cast<double>(entries);
}

/// Touched by the round that does not count.
void append_touched(const settings& how, report& into) {
    beside_raw both(how);
    for (const std::uint64_t size : how.sizes_or({8, 64, 256, 1024, 4096, 65536})) {
        const std::uint64_t entries = both.entries(size);
        const aligned_payload made(size);
        const auto payload = made.bytes();
        const auto costs =
            in_turns(how.repetitions, {[&] { return both.append(payload, entries); },
                                       [&] { return raw_appends<true>(both.raw(), payload, entries); },
                                       [&] { return raw_appends<false>(both.raw(), payload, entries); }});
        row r{.workload = "append", .variant = "touched : raw with CRC", .payload_bytes = size, .unit = "ns/entry"};
        r.limit = "header, copy and CRC32C in one pass, release store";
        if (size <= 4096)
            r.goal = 1.15;
        into.add(summarized(r, costs[0], costs[1]));
        r.variant = "touched : raw";
        r.limit = "header, memcpy, release store";
        if (size <= 4096)
            r.goal = 1.5;
        into.add(summarized(r, costs[0], costs[2]));
    }
}

}  // namespace

void run_append(const settings& how, report& into) {
    pin(how.cpu);
    append_touched(how, into);
    run_append_budget(how, into);
    run_append_fresh(how, into);
    run_append_beside_readers(how, into);
}

}  // namespace bench
