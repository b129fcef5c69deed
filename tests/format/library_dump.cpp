#include "tests/support/stream_dump.hpp"

#include <fmt/format.h>
#include <string_view>

// The library's side of stream_reader.py: same arguments, same lines, same exit codes.
int main(int argc, char** argv) {
    using namespace pmemstream;
    const bool by_region = argc == 4 && argv[1] == std::string_view("--order") && argv[2] == std::string_view("region");
    if (argc != 2 && !by_region && !(argc == 4 && argv[2] == std::string_view("merged")))
        return 1;
    const auto dump = by_region ? test::dump_by_region(argv[argc - 1]) : test::dump_merged(argv[argc - 1]);
    for (const auto& line : test::to_json_lines(dump))
        fmt::print("{}\n", line);
    if (dump.whole())
        return 0;
    const auto& why = dump.refused ? *dump.refused : *dump.ended;
    fmt::print(stderr, "{}: {}\n", to_string(why.code()), why.message());
    switch (why.code()) {
        case errc::not_a_stream:
            return 2;
        case errc::corrupt:
        case errc::truncated:
        case errc::unsupported_format:
            return 3;
        default:
            return 4;
    }
}
