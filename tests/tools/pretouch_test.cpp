#include "tests/support/eventually.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/writer_mapping.hpp"
#include "tests/tools/process.hpp"

#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>

using namespace pmemstream;
using namespace pmemstream::test;

TEST_CASE("pmemstream-write --pretouch has pages present before lines come") {
    const temp_dir dir;
    const auto file = dir / "s";
    running tool({write_tool, file, "--pretouch", "8M"});
    tool.send("line\n");
    REQUIRE(eventually([&] { return reader::open(file) && reader::open(file)->find("main"); }));
    const auto begin = to_uint(reader::open(file)->describe(reader::open(file)->find("main").value()).value().begin);
    constexpr std::uint64_t most = 7 << 20;
    CHECK(eventually(
        [&] { return writer_mapping(file, tool.pid()).present(begin, most) == most / writer_mapping::page_bytes; }));
    CHECK(tool.wait().status() == 0);
    CHECK(entries_of(file) == std::vector<std::string>{"line"});
}

TEST_CASE("pmemstream-write refuses a --pretouch that is no size") {
    const temp_dir dir;
    const auto got = run({write_tool, dir / "s", "--pretouch", "much"});
    CHECK(got.status() == 1);
    CHECK(got.says("--pretouch"));
}
