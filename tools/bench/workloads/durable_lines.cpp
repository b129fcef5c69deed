// Appends that return at persisted where cache lines are flushed. Without persistent memory the granularity is forced:
// the instructions are the same, and so is most of the cost.
#include "tools/bench/flush_lines.hpp"
#include "tools/bench/follower.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/durable.hpp"

#include <algorithm>

namespace bench {

namespace {

using namespace pmemstream;

/// The limit: one copy, one flush of what was copied, one fence.
double raw_durable(std::byte* memory, std::span<const std::byte> payload, std::uint64_t entries) {
    const flush_kind how = best_flush();
    const std::uint64_t step = entry_bytes(payload.size());
    std::byte* at = memory;
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < entries; ++i, at += step) {
        const raw_header header{static_cast<std::uint32_t>(payload.size()), 0, i + 1};
        std::memcpy(at, &header, sizeof header);
        std::memcpy(at + sizeof header, payload.data(), payload.size());
        flush_lines(at, step, how);
        store_fence();
    }
    return ns_since(begin) / static_cast<double>(entries);
}

}  // namespace

line_durable::line_durable(const settings& how)
    : region_bytes_(how.bytes(std::uint64_t{16} << 20)),
      stream_(how.file, region_bytes_ + (std::uint64_t{1} << 20)),
      writer_(must(writer::open(stream_.file()))),
      where_(must(writer_->allocate(region_bytes_, "measured"))) {}

std::uint64_t line_durable::entries(std::uint64_t size) const {
    const auto fit = std::min<std::uint64_t>(50'000, region_bytes_ / entry_bytes(size));
    if (fit == 0)
        throw std::runtime_error("durable: no entry of that size fits in the region");
    return fit;
}

double line_durable::append(std::span<const std::byte> payload) {
    where_ = must(writer_->clear(where_));
    const auto count = entries(payload.size());
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < count; ++i)
        if (auto got = writer_->append(where_, payload, horizon::persisted); !got)
            throw std::runtime_error(got.error().message());
    return ns_since(begin) / static_cast<double>(count);
}

void run_durable_lines(const settings& how, report& into) {
    if (!can_flush_lines())
        return;
    pin(how.cpu);
    const forced_lines forced;
    line_durable ours(how);
    const scratch_file beside(how.file.string() + ".raw", how.bytes(std::uint64_t{16} << 20));
    const raw_mapping raw(beside.file(), access::write);
    for (const std::uint64_t size : how.sizes_or({64, 256, 1024})) {
        const auto payload = payload_of(size);
        const auto costs =
            in_turns(how.repetitions, {[&] { return ours.append(payload); },
                                       [&] { return raw_durable(raw.data(), payload, ours.entries(size)); }});
        row r{.workload = "durable", .variant = "cache line", .payload_bytes = size, .unit = "ns/entry"};
        r.limit = "one copy, flush and fence";
        if (size == 64)
            r.goal = 1.2;
        into.add(summarized(r, costs[0], costs[1]));
    }
}

}  // namespace bench
