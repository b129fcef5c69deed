// Creating a stream and opening it for writing: what it costs does not depend on the entries. Every opening is made by a
// new process, for that is when streams are opened.
#include "tools/bench/follower.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <functional>

namespace bench {

namespace {

using namespace pmemstream;

enum class ending : std::uint8_t { closed, killed };

/// Runs `body` in a process that is killed when it returns; gives what it returned.
double in_other_process(const std::function<double()>& body) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw std::runtime_error("pipe failed");
    const pid_t child = ::fork();
    if (child < 0)
        throw std::runtime_error("fork failed");
    if (child == 0) {
        try {
            const double got = body();
            if (::write(ends[1], &got, sizeof got) == static_cast<ssize_t>(sizeof got))
                ::raise(SIGKILL);
        } catch (const std::exception& e) {
            fmt::print(stderr, "pmemstream-bench: {}\n", e.what());
        }
        ::_exit(1);
    }
    ::close(ends[1]);
    double got = 0;
    const bool told = ::read(ends[0], &got, sizeof got) == static_cast<ssize_t>(sizeof got);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!told || !WIFSIGNALED(status))
        throw std::runtime_error("open: the process that opens the stream failed");
    return got;
}

struct shape {
    std::uint64_t entries = 0;
    unsigned regions = 1;
    bool operator==(const shape&) const = default;
};

/// Room for a header of its own in each.
std::uint64_t region_bytes_of(std::uint64_t room_bytes, unsigned regions) {
    return room_bytes / regions / 4096 * 4096 - pmemstream::region_overhead_bytes({});
}

/// Appends the entries, by turns to the regions, and ends as told.
void fill(const std::filesystem::path& file, std::uint64_t room_bytes, const shape& what, std::uint64_t size,
          ending how) {
    in_other_process([&] {
        auto* const to = must(writer::open(file)).release();
        std::vector<region> all;
        for (unsigned i = 0; i < what.regions; ++i)
            all.push_back(must(to->allocate(region_bytes_of(room_bytes, what.regions))));
        const auto payload = payload_of(size);
        for (std::uint64_t i = 0; i < what.entries; ++i)
            append_to(*to, all[i % what.regions], payload);
        if (how == ending::closed)
            must(to->close());
        return 0.0;
    });
}

double opening(const std::filesystem::path& file, ending how) {
    return in_other_process([&] {
        const auto begin = clock::now();
        auto* const to = must(writer::open(file)).release();
        const double took = ns_since(begin) / 1000;
        if (to->recovery().found !=
            (how == ending::closed ? recovery_report::state::clean : recovery_report::state::process_died))
            throw std::runtime_error("the stream was not found as its last writer left it");
        if (how == ending::closed)
            must(to->close());
        return took;
    });
}

/// By entries, then by regions.
std::vector<shape> shapes_that_fit(const settings& how, std::uint64_t room_bytes, std::uint64_t size) {
    std::vector<shape> all{{1000, 1}, {10'000, 1}, {100'000, 1}, {1'000'000, 1}, {1'000'000, 16}, {1'000'000, 256}};
    if (how.all)
        all.insert(all.begin() + 4, shape{10'000'000, 1});
    for (auto& each : all) {
        const std::uint64_t fit = region_bytes_of(room_bytes, each.regions) / entry_bytes(size) * each.regions;
        each.entries = std::min(how.count(each.entries), fit);
    }
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

void measure_create(const settings& how, report& into, std::uint64_t stream_bytes) {
    const auto costs = in_turns(how.repetitions, {[&] {
                                                      const auto begin = clock::now();
                                                      const scratch_stream made(how.file, stream_bytes);
                                                      return ns_since(begin) / 1000;
                                                  },
                                                  [&] {
                                                      const std::string plain = how.file.string() + ".raw";
                                                      const auto begin = clock::now();
                                                      const scratch_file made(plain, stream_bytes);
                                                      const int fd = ::open(plain.c_str(), O_RDWR | O_CLOEXEC);
                                                      const bool synced = fd >= 0 && ::fsync(fd) == 0;
                                                      const double took = ns_since(begin) / 1000;
                                                      if (fd >= 0)
                                                          ::close(fd);
                                                      if (!synced)
                                                          throw std::runtime_error(plain + ": cannot be synced");
                                                      return took;
                                                  }});
    row r{.workload = "open", .variant = fmt::format("create, {} MB", stream_bytes / 1'000'000), .unit = "us"};
    r.limit = "a plain file of that size, allocated and synced";
    into.add(summarized(r, costs[0], costs[1]));
}

}  // namespace

void run_open(const settings& how, report& into) {
    const std::uint64_t size = how.sizes.empty() ? 64 : how.sizes.front();
    // All streams are as large as the one with the most entries of 64 bytes, or than 256 entries in as many regions. Where
    // entries are larger than that, there are fewer of them.
    constexpr unsigned regions_max = 256;
    const std::uint64_t entries_max = how.count(how.all ? 10'000'000 : 1'000'000);
    const std::uint64_t room_bytes =
        std::max(entries_max * std::min(entry_bytes(size), entry_bytes(64)), regions_max * entry_bytes(size)) +
        regions_max * std::uint64_t{8192};
    const auto shapes = shapes_that_fit(how, room_bytes, size);
    const std::uint64_t stream_bytes = room_bytes + (std::uint64_t{1} << 20);
    measure_create(how, into, stream_bytes);
    for (const ending last : {ending::closed, ending::killed}) {
        const scratch_stream empty(how.file.string() + ".empty", stream_bytes);
        fill(empty.file(), room_bytes, {0, 1}, size, last);
        for (const auto& each : shapes) {
            const scratch_stream full(how.file, stream_bytes);
            fill(full.file(), room_bytes, each, size, last);
            const auto costs = in_turns(how.repetitions, {[&] { return opening(full.file(), last); },
                                                          [&] { return opening(empty.file(), last); }});
            row r{.workload = "open",
                  .variant = fmt::format("{}, {} in {}", last == ending::closed ? "closed" : "killed", each.entries,
                                         each.regions),
                  .payload_bytes = size,
                  .unit = "us"};
            r.limit = "an empty stream of that size";
            if (last == ending::killed && each.regions == 1)
                r.goal = 2;
            into.add(summarized(r, costs[0], costs[1]));
        }
    }
}

}  // namespace bench
