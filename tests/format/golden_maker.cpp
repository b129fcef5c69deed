#include "tests/format/sample_streams.hpp"

#include <cstdio>
#include <exception>
#include <filesystem>

// Makes the streams of which golden.py keeps copies. Built with the tests so that it stays able to; run by hand, once
// per version of the format.
int main(int argc, char** argv) {
    if (argc != 2)
        return 1;
    try {
        using namespace pmemstream::test;
        const std::filesystem::path folder = argv[1];
        make_tiny_stream(folder / "tiny.stream");
        make_rich_stream(folder / "rich_64.stream", 64);
        make_rich_stream(folder / "rich_4096.stream", 4096);
        make_rich_stream(folder / "killed.stream", 64);
        append_and_die(folder / "killed.stream");
        copy_torn_and_recover(folder / "killed.stream", folder / "cut.stream");
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return 0;
}
