#include "tools/bench/measure.hpp"
#include "tools/bench/streams.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

namespace bench {

namespace {

using namespace pmemstream;

/// Runs `body` in a process that is killed when it returns; gives what it returned.
double in_killed_process(const std::function<double()>& body) {
    int ends[2];
    if (::pipe(ends) != 0)
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
            fmt::print(stderr, "{}\n", e.what());
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
        throw std::runtime_error("the process that opens the stream failed");
    return got;
}

/// A stream whose writer was killed with so many entries in its one region.
void fill_and_kill(const std::filesystem::path& file, std::uint64_t region_bytes, std::uint64_t entries) {
    in_killed_process([&] {
        auto* const to = must(writer::open(file)).release();  // never closed
        const region where = must(to->allocate(region_bytes, "r"));
        const std::vector<std::byte> payload(64, std::byte{0x5a});
        for (std::uint64_t i = 0; i < entries; ++i)
            if (auto got = to->append(where, payload); !got)
                throw std::runtime_error(got.error().message());
        return 0.0;
    });
}

/// How long an opening takes, by a process that is killed after it.
double open_after_kill(const std::filesystem::path& file) {
    return in_killed_process([&] {
        const auto begin = clock::now();
        const auto* const to = must(writer::open(file)).release();
        const double took = std::chrono::duration<double, std::micro>(clock::now() - begin).count();
        if (to->recovery().found != recovery_report::state::process_died)
            throw std::runtime_error("the stream was not found as a killed writer leaves it");
        return took;
    });
}

}  // namespace

std::vector<row> run_open(const settings& how) {
    std::vector<row> rows;
    constexpr std::uint64_t entries_max = 10'000'000;
    constexpr std::uint64_t region_bytes = entries_max * entry_bytes(64) + 4096;
    const std::uint64_t stream_bytes = region_bytes + (std::uint64_t{1} << 20);
    const scratch_stream empty(how.file.string() + ".empty", stream_bytes);
    fill_and_kill(empty.file(), region_bytes, 0);
    for (const std::uint64_t entries : {std::uint64_t{1000}, std::uint64_t{100'000}, entries_max}) {
        const scratch_stream full(how.file, stream_bytes);
        fill_and_kill(full.file(), region_bytes, entries);
        row r{.workload = "open",
              .variant = fmt::format("killed, {} entries", entries),
              .payload_bytes = 64,
              .unit = "us/opening"};
        r.goal = 2;
        measure_pairs(
            r, how.repetitions, [&] { return open_after_kill(full.file()); },
            [&] { return open_after_kill(empty.file()); });
        rows.push_back(r);
    }
    return rows;
}

}  // namespace bench
