#include "tools/bench/measure.hpp"
#include "tools/bench/streams.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(PMEMSTREAM_BENCH_PMEMLOG)
#include <libpmemlog.h>
#endif
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>

namespace bench {

namespace {

using namespace pmemstream;

double per_entry(clock::time_point begin, std::uint64_t entries) {
    return std::chrono::duration<double, std::nano>(clock::now() - begin).count() / static_cast<double>(entries);
}

/// Set for as long as it lives: streams that are opened meanwhile flush cache lines.
class forced_environment {
public:
    forced_environment() {
        ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
        ::setenv("PMEM_IS_PMEM_FORCE", "1", 1);  // the same for libpmemlog
    }
    ~forced_environment() {
        ::unsetenv("PMEM2_FORCE_GRANULARITY");
        ::unsetenv("PMEM_IS_PMEM_FORCE");
    }
};

// --- cache lines ----------------------------------------------------------------------------------------------------

#if defined(__x86_64__)
/// The flush that libpmem2 would choose, by the same look at the processor.
enum class flush_kind : std::uint8_t { clwb, clflushopt, clflush };

flush_kind best_flush() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0)
        return flush_kind::clflush;
    return (ebx & bit_CLWB) != 0         ? flush_kind::clwb
           : (ebx & bit_CLFLUSHOPT) != 0 ? flush_kind::clflushopt
                                         : flush_kind::clflush;
}

void flush_lines(const std::byte* begin, std::size_t bytes, flush_kind how) {
    const auto first = reinterpret_cast<std::uintptr_t>(begin) & ~std::uintptr_t{63};
    for (auto at = first; at < reinterpret_cast<std::uintptr_t>(begin) + bytes; at += 64) {
        auto& line = *reinterpret_cast<volatile char*>(at);
        if (how == flush_kind::clwb)
            __asm__ volatile("clwb %0" : "+m"(line));
        else if (how == flush_kind::clflushopt)
            __asm__ volatile("clflushopt %0" : "+m"(line));
        else
            __asm__ volatile("clflush %0" : "+m"(line));
    }
}

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
        __asm__ volatile("sfence" : : : "memory");
    }
    return per_entry(begin, entries);
}

double durable_appends(writer& to, region& where, std::span<const std::byte> payload, std::uint64_t entries) {
    where = must(to.clear(where));
    const region target = where;
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < entries; ++i)
        if (auto got = to.append(target, payload, horizon::persisted); !got)
            throw std::runtime_error(got.error().message());
    return per_entry(begin, entries);
}

#if defined(PMEMSTREAM_BENCH_PMEMLOG)
/// What 0.2.1's neighbours offered: libpmemlog, which makes every append durable.
class pmemlog {
public:
    pmemlog(std::filesystem::path file, std::uint64_t bytes) : file_(std::move(file)) {
        log_ = ::pmemlog_create(file_.c_str(), bytes, 0600);
        if (log_ == nullptr)
            throw std::system_error(errno, std::generic_category(), "pmemlog_create");
    }
    ~pmemlog() {
        ::pmemlog_close(log_);
        std::error_code ignored;
        std::filesystem::remove(file_, ignored);
    }
    pmemlog(const pmemlog&) = delete;
    pmemlog& operator=(const pmemlog&) = delete;

    double append(std::span<const std::byte> payload, std::uint64_t entries) {
        ::pmemlog_rewind(log_);
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < entries; ++i)
            if (::pmemlog_append(log_, payload.data(), payload.size()) != 0)
                throw std::system_error(errno, std::generic_category(), "pmemlog_append");
        return per_entry(begin, entries);
    }

private:
    std::filesystem::path file_;
    PMEMlogpool* log_ = nullptr;
};
#endif

void cache_line_rows(const settings& how, std::vector<row>& rows) {
    const forced_environment forced;
    constexpr std::uint64_t region_bytes = std::uint64_t{16} << 20;
    const scratch_stream stream(how.file, 2 * region_bytes + (std::uint64_t{1} << 20));
    const auto to = must(writer::open(stream.file()));
    auto where = must(to->allocate(region_bytes - 4096, "measured"));
    const auto beside = must(to->describe(must(to->allocate(region_bytes - 4096, "limit"))));
    const raw_mapping raw(stream.file(), true);
    for (const std::uint64_t size : how.sizes) {
        const std::vector<std::byte> payload(size, std::byte{0x5a});
        const std::uint64_t entries = std::min<std::uint64_t>(50'000, beside.size_bytes / entry_bytes(size));
        row r{.workload = "durable", .variant = "cache line", .payload_bytes = size, .unit = "ns/entry"};
        r.goal = size == 64 ? 1.2 : 0;
        measure_pairs(
            r, how.repetitions, [&] { return durable_appends(*to, where, payload, entries); },
            [&] { return raw_durable(raw.at(beside.begin), payload, entries); });
        rows.push_back(r);
#if defined(PMEMSTREAM_BENCH_PMEMLOG)
        pmemlog log(how.file.string() + ".pmemlog", std::max<std::uint64_t>(PMEMLOG_MIN_POOL, 2 * region_bytes));
        row peer{.workload = "durable", .variant = "beside libpmemlog", .payload_bytes = size, .unit = "ns/entry"};
        peer.goal = size == 64 ? 0.5 : 0;
        measure_pairs(
            peer, how.repetitions, [&] { return durable_appends(*to, where, payload, entries); },
            [&] { return log.append(payload, entries); });
        rows.push_back(peer);
#endif
    }
}
#endif

// --- pages on a disk ------------------------------------------------------------------------------------------------

/// Appends under one mutex and waits outside it, from `threads` threads. ns per entry.
double append_and_wait(writer& to, region where, std::span<const std::byte> payload, unsigned threads,
                       std::uint64_t each) {
    std::mutex appending;
    std::atomic<bool> failed{false};
    const auto work = [&] {
        for (std::uint64_t i = 0; i < each && !failed; ++i) {
            timestamp given{};
            {
                const std::lock_guard lock(appending);
                auto got = to.append(where, payload);
                if (!got) {
                    failed = true;
                    return;
                }
                given = *got;
            }
            failed = failed || !to.wait_persisted(given);
        }
    };
    const auto begin = clock::now();
    std::vector<std::thread> others;
    for (unsigned t = 1; t < threads; ++t)
        others.emplace_back(work);
    work();
    for (auto& t : others)
        t.join();
    if (failed)
        throw std::runtime_error("an append or a wait failed");
    return per_entry(begin, threads * each);
}

/// The limit: a store to one page of an overwritten file, and its sync.
double sync_a_page(std::byte* page, std::uint64_t times) {
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < times; ++i) {
        page[i % 4096] = static_cast<std::byte>(i);
        if (::msync(page, 4096, MS_SYNC) != 0)
            throw std::system_error(errno, std::generic_category(), "msync");
    }
    return per_entry(begin, times);
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
            if (auto got = to.append(where, payload); !got)
                throw std::runtime_error(got.error().message());
        costs.push_back(per_entry(chunk_begin, chunk));
    }
    const double mean = per_entry(begin, entries);
    return {median(std::move(costs)), mean};
}

/// Every block of the file written once, so that no sync pays for turning allocated space into written space.
void overwrite(const std::filesystem::path& file) {
    const raw_mapping raw(file, true);
    for (std::uint64_t at = 0; at < std::filesystem::file_size(file); at += 4096) {
        auto& word = *reinterpret_cast<std::uint64_t*>(raw.at(offset{at}));
        __atomic_fetch_or(&word, std::uint64_t{0}, __ATOMIC_RELAXED);
    }
    if (::msync(raw.at(offset{0}), std::filesystem::file_size(file), MS_SYNC) != 0)
        throw std::system_error(errno, std::generic_category(), "msync");
}

void page_rows(const settings& how, std::vector<row>& rows) {
    constexpr std::uint64_t region_bytes = std::uint64_t{64} << 20;
    const std::vector<std::byte> payload(64, std::byte{0x5a});
    const scratch_stream stream(how.disk_file, 3 * region_bytes + (std::uint64_t{1} << 20));
    overwrite(stream.file());
    const unsigned pairs = std::min(how.repetitions, 7u);
    {
        const auto to = must(writer::open(stream.file()));
        const auto where = must(to->allocate(region_bytes, "measured"));
        const auto beside = must(to->describe(must(to->allocate(region_bytes, "limit"))));
        const raw_mapping raw(stream.file(), true);
        row one{.workload = "durable", .variant = "page, 1 waiter", .payload_bytes = 64, .unit = "ns/entry"};
        one.goal = 1.1;
        const offset page{(to_uint(beside.begin) + 4095) / 4096 * 4096};
        measure_pairs(
            one, pairs, [&] { return append_and_wait(*to, where, payload, 1, 300); },
            [&] { return sync_a_page(raw.at(page), 300); });
        rows.push_back(one);
        row many{.workload = "durable", .variant = "page, 64 : 1 waiters", .payload_bytes = 64, .unit = "ns/entry"};
        many.goal = 0.05;
        measure_pairs(
            many, pairs, [&] { return append_and_wait(*to, where, payload, 64, 100); },
            [&] { return append_and_wait(*to, where, payload, 1, 300); });
        rows.push_back(many);
        must(to->free(where));
    }
    // The same appends with and without a policy, each through a writer of its own.
    std::vector<double> medians, medians_without, means, means_without;
    const auto with = [&](std::chrono::milliseconds every) {
        writer_options options;
        options.policy.every = every;
        const auto to = must(writer::open(stream.file(), options));
        const region where = must(to->allocate(region_bytes, "policy"));
        // The same pages every time: touched by a turn that does not count.
        const std::uint64_t entries = region_bytes / 2 / entry_bytes(64);
        (void)committed_appends(*to, where, payload, entries);
        const region again = must(to->clear(where));
        const auto cost = committed_appends(*to, again, payload, entries);
        must(to->free(again));
        must(to->close());
        return cost;
    };
    for (unsigned i = 0; i < pairs; ++i) {
        const auto measured = with(std::chrono::milliseconds(10)), limit = with(std::chrono::milliseconds(0));
        medians.push_back(measured.median);
        medians_without.push_back(limit.median);
        means.push_back(measured.mean);
        means_without.push_back(limit.mean);
    }
    row background{.workload = "durable", .variant = "policy 10 ms, median", .payload_bytes = 64, .unit = "ns/entry"};
    background.goal = 1.1;
    summarize(background, medians, medians_without);
    rows.push_back(background);
    row all{.workload = "durable", .variant = "policy 10 ms, mean", .payload_bytes = 64, .unit = "ns/entry"};
    summarize(all, means, means_without);
    rows.push_back(all);
}

}  // namespace

std::vector<row> run_durable(const settings& how) {
    std::vector<row> rows;
    pin(how.cpu);
#if defined(__x86_64__)
    cache_line_rows(how, rows);
#endif
    unpin();
    page_rows(how, rows);
    return rows;
}

}  // namespace bench
