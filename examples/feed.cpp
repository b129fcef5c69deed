// A producer that may be killed at any time: appends the lines of a file to a region, and after a restart goes on after
// as many lines as the region holds. The stream itself is its memory: nothing else needs to be written down.
//
//   feed STREAM REGION FILE [LINES_PER_S [TIMES]]
//
// LINES_PER_S paces it (0: as fast as it goes). TIMES: a file of 8-byte places, one per line, into which it puts the
// moment before each append.
#include "time_file.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <pmemstream/pmemstream.hpp>
#include <string>
#include <thread>

namespace {

int fail(const pmemstream::error& why) {
    std::fprintf(stderr, "feed: %s\n", why.message().c_str());
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fputs("usage: feed STREAM REGION FILE [LINES_PER_S [TIMES]]\n", stderr);
        return 1;
    }
    const double lines_per_s = argc > 4 ? std::atof(argv[4]) : 0;
    example::time_file times(argc > 5 ? argv[5] : "");
    std::ifstream input(argv[3], std::ios::binary);
    if (!input) {
        std::fprintf(stderr, "feed: cannot read %s\n", argv[3]);
        return 1;
    }

    auto writer = pmemstream::writer::open(argv[1]);
    if (!writer)
        return fail(writer.error());
    auto region = (*writer)->find(argv[2]);
    if (!region)
        return fail(region.error());

    // How far it came before: what is committed survived the kill, whole entries only.
    auto reader = pmemstream::reader::open(argv[1], {.name = "feed"});
    if (!reader)
        return fail(reader.error());
    auto cursor = reader->follow(*region, {.registered = false});
    if (!cursor)
        return fail(cursor.error());
    const auto already = static_cast<std::size_t>(std::ranges::distance(cursor->begin(), cursor->end()));
    if (!cursor->status())
        return fail(cursor->status().error());

    std::size_t number = 0;
    const std::uint64_t begun = example::now_ns();
    for (std::string line; std::getline(input, line); ++number) {
        if (number < already)
            continue;
        if (lines_per_s > 0) {
            const double due_ns = static_cast<double>(number - already) * 1e9 / lines_per_s;
            const auto elapsed_ns = static_cast<double>(example::now_ns() - begun);
            if (due_ns > elapsed_ns)
                std::this_thread::sleep_for(std::chrono::nanoseconds(static_cast<std::int64_t>(due_ns - elapsed_ns)));
        }
        times.note(number);
        if (auto done = (*writer)->append(*region, std::as_bytes(std::span(line))); !done)
            return fail(done.error());
    }
    if (auto done = (*writer)->close(); !done)
        return fail(done.error());
    std::fprintf(stderr, "%zu lines, of which %zu were there before\n", number, already);
    return 0;
}
