// Appending to a file just made, of which nobody has touched a page: each page faults once, unless a thread of the writer
// touches it before. Beside a raw loop that meets the same faults, and beside appending where they are over.
#include "tools/bench/follower.hpp"
#include "tools/bench/histogram.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/percentiles.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <utility>

namespace bench {

namespace {

using namespace pmemstream;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// The two CPUs: of the appending thread, and of those that a writer makes, which have the CPUs of the thread that opens it.
struct cpus {
    int appending = -1;
    int background = -1;
};

/// A stream of its own for a turn.
class new_stream {
public:
    new_stream(const std::filesystem::path& file, std::uint64_t region_bytes, std::uint64_t pretouch_bytes,
               const cpus& where)
        : stream_(file, region_bytes + mib) {
        writer_options options;
        options.pretouch_ahead_bytes = pretouch_bytes;
        pin(where.background);
        writer_ = must(writer::open(file, options));
        pin(where.appending);
        where_ = must(writer_->allocate(region_bytes, "entries"));
        if (pretouch_bytes != 0)
            wait_until_present(file, std::min(pretouch_bytes, region_bytes));
    }
    /// Its pages have been touched: it was full, and is empty again.
    void warm_up(std::span<const std::byte> payload, std::uint64_t entries) {
        (void)fill(payload, entries);
        where_ = must(writer_->clear(where_));
    }

    /// ns per entry.
    double fill(std::span<const std::byte> payload, std::uint64_t entries) {
        return append_many(*writer_, where_, payload, entries);
    }
    /// The same, looking at the clock after each.
    void fill_timed(std::span<const std::byte> payload, std::uint64_t entries, histogram& times) {
        times.clear();
        for (std::uint64_t i = 0, begin = now_ns(); i < entries; ++i) {
            append_to(*writer_, where_, payload);
            const std::uint64_t end = now_ns();
            times.record(end - begin);
            begin = end;
        }
    }
    /// So many a second; from the moment at which each should have been begun.
    void fill_at_rate(std::span<const std::byte> payload, std::uint64_t entries, double rate, histogram& times) {
        times.clear();
        at_rate(entries, 1e9 / rate, [&](std::uint64_t intended) {
            append_to(*writer_, where_, payload);
            times.record(now_ns() - intended);
        });
    }

private:
    scratch_stream stream_;
    std::unique_ptr<writer> writer_;
    region where_;
};

double fill_raw(const std::string& file, std::uint64_t region_bytes, std::span<const std::byte> payload,
                std::uint64_t entries) {
    const scratch_file fresh(file, region_bytes + mib);
    const raw_mapping raw(file, access::write);
    const raw_log log(raw.data());
    const auto begin = clock::now();
    for (std::uint64_t i = 0, position = 0; i < entries; ++i)
        position = raw_append_with_crc(log, position, payload, i);
    return ns_since(begin) / static_cast<double>(entries);
}

/// Where streams are made, and what of them is measured.
struct place {
    std::string name;
    std::filesystem::path file;
    std::uint64_t region_bytes;
    std::uint64_t entries;
    std::span<const std::byte> payload;
    cpus threads;

    [[nodiscard]] new_stream make(std::uint64_t pretouch_bytes) const {
        return {file, region_bytes, pretouch_bytes, threads};
    }
    [[nodiscard]] turn fill(std::uint64_t pretouch_bytes) const {
        return [this, pretouch_bytes] { return make(pretouch_bytes).fill(payload, entries); };
    }
    [[nodiscard]] turn fill_warm() const {
        return [this] {
            auto here = make(0);
            here.warm_up(payload, entries);
            return here.fill(payload, entries);
        };
    }
    [[nodiscard]] percentile_rows::fill fill_timed(std::uint64_t pretouch_bytes) const {
        return [this, pretouch_bytes](histogram& times) { make(pretouch_bytes).fill_timed(payload, entries, times); };
    }
    [[nodiscard]] percentile_rows::fill fill_timed_warm() const {
        return [this](histogram& times) {
            auto here = make(0);
            here.warm_up(payload, entries);
            here.fill_timed(payload, entries, times);
        };
    }
    [[nodiscard]] row row_of(const char* variant, const char* limit) const {
        return {.workload = "append",
                .variant = fmt::format("{}, {}", variant, name),
                .payload_bytes = payload.size(),
                .unit = "ns/entry",
                .limit = limit};
    }
    [[nodiscard]] percentile_rows percentiles_of(const std::string& variant) const {
        return {"append", fmt::format("{}, {} : touched", variant, name), payload.size(), "ns",
                "the same where every page was touched"};
    }
};

constexpr const char* where_touched = "the same where every page was touched";

/// What is looked at of appends of one size.
enum class depth : std::uint8_t { medians, percentiles_too };

/// Nobody touches a page before.
void untouched(const settings& how, report& into, const place& at, depth look) {
    const auto costs = in_turns(
        how.repetitions,
        {at.fill(0), [&] { return fill_raw(at.file.string() + ".raw", at.region_bytes, at.payload, at.entries); },
         at.fill_warm()});
    row r = at.row_of("untouched", "the raw loop with CRC on a new file");
    r.variant += " : raw";
    into.add(summarized(r, costs[0], costs[1]));
    r = at.row_of("untouched", where_touched);
    r.variant += " : touched";
    into.add(summarized(r, costs[0], costs[2]));
    if (look == depth::medians)
        return;
    auto rows = at.percentiles_of("untouched");
    rows.measure(how.repetitions, at.fill_timed(0), at.fill_timed_warm());
    rows.add_to(into, {});
}

/// The background has come as far as it is told to before the first append. All of the region; and a quarter of it, which
/// is overtaken at once, for nothing touches pages as fast as entries are appended.
void pretouched(const settings& how, report& into, const place& at, depth look) {
    const auto costs =
        in_turns(how.repetitions, {at.fill(at.region_bytes), at.fill(at.region_bytes / 4), at.fill_warm()});
    row r = at.row_of("pre-touched", where_touched);
    r.variant += " : touched";
    r.goal = 1.5;
    into.add(summarized(r, costs[0], costs[2]));
    r = at.row_of("pre-touched and overtaken", where_touched);
    r.variant += " : touched";
    into.add(summarized(r, costs[1], costs[2]));
    if (look == depth::medians)
        return;
    auto rows = at.percentiles_of("pre-touched");
    rows.measure(how.repetitions, at.fill_timed(at.region_bytes), at.fill_timed_warm());
    rows.add_to(into, {.p99_9 = 3});
}

/// The background keeps a small part of the region ahead of appends at a rate that it can keep up with.
void pretouched_at_rate(const settings& how, report& into, const place& at) {
    constexpr double rate = 2e6, bytes_per_second_max = 1e9;
    if (rate * static_cast<double>(entry_bytes(at.payload.size())) > bytes_per_second_max)
        return;
    auto rows = at.percentiles_of("pre-touched at 2 M/s");
    rows.measure(
        how.repetitions,
        [&](histogram& times) { at.make(at.region_bytes / 8).fill_at_rate(at.payload, at.entries, rate, times); },
        [&](histogram& times) {
            auto here = at.make(0);
            here.warm_up(at.payload, at.entries);
            here.fill_at_rate(at.payload, at.entries, rate, times);
        });
    rows.add_to(into, {.p99_9 = 3});
}

}  // namespace

void run_append_fresh(const settings& how, report& into) {
    const std::uint64_t region_bytes = how.bytes(32 * mib);
    const std::uint64_t looked_into = how.sizes.empty() ? 64 : how.sizes.front();
    const cpus threads{how.cpu, how.other_cpu};
    for (const auto& [name, file] : {std::pair{"memory", how.file}, std::pair{"disk", how.disk_file}})
        for (const std::uint64_t size : how.sizes_or({8, 64, 4096})) {
            const std::uint64_t entries = region_bytes / entry_bytes(size);
            if (entries == 0)
                throw std::runtime_error("append: no entry of that size fits in the region");
            const auto payload = payload_of(size);
            const place at{name, file, region_bytes, entries, payload, threads};
            const depth look = size == looked_into ? depth::percentiles_too : depth::medians;
            untouched(how, into, at, look);
            pretouched(how, into, at, look);
            if (look == depth::percentiles_too)
                pretouched_at_rate(how, into, at);
        }
}

}  // namespace bench
