// Appending to a file just made, of which nobody has touched a page: each page faults once. Beside a raw loop that meets
// the same faults, and beside appending where they are over.
#include "tools/bench/follower.hpp"
#include "tools/bench/histogram.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/percentiles.hpp"

namespace bench {

namespace {

using namespace pmemstream;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// A stream of its own for a turn.
class new_stream {
public:
    new_stream(const std::filesystem::path& file, std::uint64_t region_bytes, const writer_options& how)
        : stream_(file, region_bytes + mib),
          writer_(must(writer::open(file, how))),
          where_(must(writer_->allocate(region_bytes, "entries"))) {}

    /// ns per entry, until the region is full.
    double fill(std::span<const std::byte> payload, std::uint64_t entries) {
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < entries; ++i)
            append_to(*writer_, where_, payload);
        return ns_since(begin) / static_cast<double>(entries);
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
    void clear() { where_ = must(writer_->clear(where_)); }

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

/// Where, and what the writer is told.
struct place {
    std::string name;
    std::filesystem::path file;
    writer_options options;
};

void measure(const settings& how, report& into, const place& at, std::uint64_t size) {
    const std::uint64_t region_bytes = how.bytes(32 * mib);
    const std::uint64_t entries = region_bytes / entry_bytes(size);
    if (entries == 0)
        throw std::runtime_error("append: no entry of that size fits in the region");
    const auto payload = payload_of(size);
    const auto costs =
        in_turns(how.repetitions, {[&] {
                                       new_stream here(at.file, region_bytes, at.options);
                                       return here.fill(payload, entries);
                                   },
                                   [&] { return fill_raw(at.file.string() + ".raw", region_bytes, payload, entries); },
                                   [&] {
                                       new_stream here(at.file, region_bytes, at.options);
                                       (void)here.fill(payload, entries);
                                       here.clear();
                                       return here.fill(payload, entries);
                                   }});
    row r{.workload = "append", .variant = at.name + " : raw", .payload_bytes = size, .unit = "ns/entry"};
    r.limit = "the raw loop with CRC on a new file";
    into.add(summarized(r, costs[0], costs[1]));
    r.variant = at.name + " : touched";
    r.limit = "the same where every page was touched";
    into.add(summarized(r, costs[0], costs[2]));

    percentile_rows rows("append", at.name + " : touched", size, "ns", "the same where every page was touched");
    rows.measure(
        how.repetitions,
        [&](histogram& times) {
            new_stream here(at.file, region_bytes, at.options);
            here.fill_timed(payload, entries, times);
        },
        [&](histogram& times) {
            new_stream here(at.file, region_bytes, at.options);
            (void)here.fill(payload, entries);
            here.clear();
            here.fill_timed(payload, entries, times);
        });
    rows.add_to(into, {});
}

}  // namespace

void run_append_fresh(const settings& how, report& into) {
    const std::uint64_t size = how.sizes.empty() ? 64 : how.sizes.front();
    for (const auto& at : {place{"untouched, memory", how.file, {}}, place{"untouched, disk", how.disk_file, {}}})
        measure(how, into, at, size);
}

}  // namespace bench
