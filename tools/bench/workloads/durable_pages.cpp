// Appends that wait for persisted where pages are synced to a disk: alone, and from many threads that share each sync.
// And what a policy in the background costs those that do not wait.
#include "tools/bench/follower.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/page_sync.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/row.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/team.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/durable.hpp"

#include <fmt/format.h>
#include <atomic>
#include <mutex>

namespace bench {

namespace {

using namespace pmemstream;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// Payload of the entries that fill a region before it is measured in.
std::uint64_t filling_bytes(std::uint64_t region_bytes) {
    return std::min<std::uint64_t>(region_bytes / 64, mib);
}

/// Committed appends, in chunks: what the median one costs, and the mean of all. ns per entry.
struct append_cost {
    double median = 0;
    double mean = 0;
};
append_cost committed_appends(writer& to, region where, std::span<const std::byte> payload, std::uint64_t entries) {
    constexpr std::uint64_t chunk = 64;
    std::vector<double> costs;
    costs.reserve(entries / chunk);
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < entries / chunk; ++i) {
        const auto chunk_begin = clock::now();
        for (std::uint64_t k = 0; k < chunk; ++k)
            append_to(to, where, payload);
        costs.push_back(ns_since(chunk_begin) / chunk);
    }
    const double mean = ns_since(begin) / static_cast<double>(costs.size() * chunk);
    return {median(std::move(costs)), mean};
}

/// The same appends with and without a policy, each through a writer of its own.
void policy_rows(const settings& how, report& into) {
    const std::uint64_t region_bytes = how.bytes(64 * mib);
    const scratch_stream stream(how.disk_file, region_bytes + mib);
    const auto payload = payload_of(64);
    const auto with = [&](std::chrono::milliseconds every) {
        writer_options options;
        options.policy.every = every;
        region where;
        const auto to = open_filled_once(stream.file(), region_bytes, options, false, where);
        const auto cost = committed_appends(*to, where, payload, region_bytes / 2 / entry_bytes(64));
        must(to->free(where));
        must(to->close());
        return cost;
    };
    std::vector<double> means, means_without;
    const auto turn_with = [&](std::chrono::milliseconds every, std::vector<double>& into_means) {
        return [&with, every, &into_means] {
            const auto cost = with(every);
            into_means.push_back(cost.mean);
            return cost.median;
        };
    };
    const auto costs = in_turns(how.repetitions, {turn_with(std::chrono::milliseconds(10), means),
                                                  turn_with(std::chrono::milliseconds(0), means_without)});
    row r{.workload = "durable", .variant = "policy 10 ms, median", .payload_bytes = 64, .unit = "ns/entry"};
    r.limit = "without a policy";
    r.goal = 1.1;
    into.add(summarized(r, costs[0], costs[1]));
    means.erase(means.begin());  // of the round that only warms up
    means_without.erase(means_without.begin());
    r.variant = "policy 10 ms, mean";
    r.goal.reset();
    into.add(summarized(r, means, means_without));
}

}  // namespace

std::unique_ptr<writer> open_filled_once(const std::filesystem::path& file, std::uint64_t region_bytes,
                                         const writer_options& options, bool waits, region& emptied) {
    auto to = must(writer::open(file, options));
    const region full = must(to->allocate(region_bytes, "measured"));
    // Before its pages are touched for the first time: they are another's than of a writer that never waits.
    if (waits)
        must(to->persist());
    const auto large = payload_of(filling_bytes(region_bytes));
    while (must(to->describe(full)).free_bytes() >= entry_bytes(large.size()))
        append_to(*to, full, large);
    must(to->persist());
    emptied = must(to->clear(full));
    return to;
}

page_durable::page_durable(const settings& how, unsigned threads_max)
    : region_bytes_(how.bytes(64 * mib, 2 * threads_max + 8)), stream_(how.disk_file, region_bytes_ + mib) {
    writer_ = open_filled_once(stream_.file(), region_bytes_, {}, true, where_);
}

std::uint64_t page_durable::times(std::uint64_t payload_bytes, unsigned threads, std::uint64_t wanted) const noexcept {
    const std::uint64_t used_bytes_max = region_bytes_ / 2 + entry_bytes(filling_bytes(region_bytes_));
    const std::uint64_t fit = (region_bytes_ - used_bytes_max) / (threads * entry_bytes(payload_bytes));
    return std::max<std::uint64_t>(1, std::min(wanted, fit));
}

/// Entries lie in the second half of the region: what a sync costs may depend on where in the file it is.
void page_durable::make_room(std::uint64_t bytes) {
    const auto info = must(writer_->describe(where_));
    if (info.used_bytes >= region_bytes_ / 2 && info.free_bytes() >= bytes)
        return;
    where_ = must(writer_->clear(where_));
    const auto large = payload_of(filling_bytes(region_bytes_));
    while (must(writer_->describe(where_)).used_bytes < region_bytes_ / 2)
        append_to(*writer_, where_, large);
    must(writer_->persist());
    if (must(writer_->describe(where_)).free_bytes() < bytes)
        throw std::runtime_error("durable: entries of that size do not fit in the region");
}

double page_durable::append_and_wait(std::span<const std::byte> payload, unsigned threads, std::uint64_t each) {
    make_room(threads * each * entry_bytes(payload.size()));
    std::mutex appending;
    std::atomic<bool> failed{false};
    const double ns = together(threads, [&] {
        for (std::uint64_t i = 0; i < each && !failed; ++i) {
            sequence given{};
            {
                const std::lock_guard lock(appending);
                auto got = writer_->append(where_, payload);
                if (!got) {
                    failed = true;
                    return;
                }
                given = *got;
            }
            if (!writer_->wait_persisted(given))
                failed = true;
        }
    });
    if (failed)
        throw std::runtime_error("durable: an append or a wait failed");
    return ns / static_cast<double>(threads * each);
}

void run_durable_pages(const settings& how, report& into) {
    unpin();
    const std::uint64_t size = how.sizes.empty() ? 64 : how.sizes.front();
    const auto payload = payload_of(size);
    {
        constexpr unsigned threads_max = 64;
        page_durable ours(how, threads_max);
        page_sync limit(how.disk_file.string() + ".raw", ours.region_bytes());
        const auto times = [&](unsigned threads) {
            return ours.times(size, threads, how.count(threads == 1 ? 200 : 100));
        };
        const auto waiting = [&](unsigned threads) {
            return [&, threads] { return ours.append_and_wait(payload, threads, times(threads)); };
        };
        const bool in_one_page = entry_bytes(size) <= 4096;
        const auto row_of = [&](unsigned threads, const char* beside) {
            return row{.workload = "durable",
                       .variant = fmt::format("page, {} waiting{}", threads, beside),
                       .payload_bytes = size,
                       .unit = "ns/entry"};
        };
        {
            const auto costs =
                in_turns(how.repetitions, {waiting(1), [&] { return limit.sync_pages(times(1), entry_bytes(size)); }});
            row r = row_of(1, "");
            r.limit = std::string(in_one_page ? "one page synced, by " : "its pages synced, by ") + limit.by();
            if (in_one_page)
                r.goal = 1.1;
            into.add(summarized(r, costs[0], costs[1]));
        }
        for (const unsigned threads : {4U, 16U, threads_max}) {
            const auto costs = in_turns(
                how.repetitions, {waiting(threads), waiting(1),
                                  [&] { return limit.sync_for_all(threads, times(threads), entry_bytes(size)); }});
            row r = row_of(threads, " : one");
            r.limit = "one waiting";
            if (threads == 64 && in_one_page)
                r.goal = 0.05;
            into.add(summarized(r, costs[0], costs[1]));
            r = row_of(threads, " : bare");
            r.limit = "as many threads, one of which syncs a page for all and wakes them";
            into.add(summarized(r, costs[0], costs[2]));
        }
    }
    policy_rows(how, into);
}

}  // namespace bench
