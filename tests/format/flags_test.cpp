#include "tests/format/sample_streams.hpp"
#include "tests/support/stream_dump.hpp"
#include "tests/support/temp_dir.hpp"

#include "src/format/layout.hpp"
#include "src/format/validate.hpp"

#include <pmemstream/writer.hpp>

#include <doctest/doctest.h>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

// Who may do what with a stream of a later version of the format; features and flags are tests/verify/evolution_test.cpp's.
using namespace pmemstream;
using namespace pmemstream::test;

namespace {

std::string content_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A tiny stream with its superblock changed, under a right CRC.
template <class Change>
std::filesystem::path changed_stream(const temp_dir& dir, const std::string& name, Change change) {
    const auto file = dir / name;
    make_tiny_stream(file);
    std::fstream image(file, std::ios::in | std::ios::out | std::ios::binary);
    format::superblock block{};
    image.read(reinterpret_cast<char*>(&block), sizeof block);
    change(block);
    block.crc = format::superblock_crc(block);
    image.seekp(0);
    image.write(reinterpret_cast<const char*>(&block), sizeof block);
    return file;
}

errc code_of_writer(const std::filesystem::path& file) {
    const auto before = content_of(file);
    auto opened = writer::open(file, {.control_mode = {}, .without_control = true});
    REQUIRE(!opened);
    CHECK(content_of(file) == before);
    return opened.error().code();
}

}  // namespace

TEST_CASE("an unknown version keeps everybody out") {
    const temp_dir dir;
    const auto file = changed_stream(dir, "version", [](format::superblock& b) { b.version = 2; });
    const auto dump = dump_merged(file);
    REQUIRE(dump.refused);
    CHECK(dump.refused->code() == errc::unsupported_format);
    CHECK(code_of_writer(file) == errc::unsupported_format);
}
