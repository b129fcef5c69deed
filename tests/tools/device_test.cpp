// The tools on a block device.
#include "tests/medium/loop_device.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/tools/process.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace pmemstream::test;

TEST_CASE("a device takes lines, shows them, verifies and salvages like a file") {
    const temp_dir dir;
    const loop_device device(dir / "backing", 4 << 20);
    const std::string on = device.path();
    CHECK(run({write_tool, on}, {.input = "a\nb\n"}).status() == 0);
    CHECK(run({write_tool, on}, {.input = "c\n"}).status() == 0);
    CHECK(run({inspect_tool, "dump", on}).out == "a\nb\nc\n");
    CHECK(run({inspect_tool, "info", on}).out.find("(4194304 bytes)") != std::string::npos);
    CHECK(run({inspect_tool, "verify", on}).status() == 0);
    const std::string saved = dir / "saved";
    CHECK(run({inspect_tool, "salvage", on, saved}).status() == 0);
    CHECK(entries_of(saved) == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE(
    "a device that holds something else is left alone unless --overwrite-device says otherwise; a stream always") {
    const temp_dir dir;
    const loop_device device(dir / "backing", 4 << 20);
    const std::string on = device.path();
    CHECK(shell("printf ext >" + on).status() == 0);
    const auto refused = run({write_tool, on}, {.input = "a\n"});
    CHECK(refused.status() == 4);
    CHECK(refused.says("offset 0"));
    CHECK(run({inspect_tool, "info", on}).status() == 2);
    CHECK(run({write_tool, "--overwrite-device", on}, {.input = "a\n"}).status() == 0);
    CHECK(run({write_tool, "--overwrite-device", on}, {.input = "b\n"}).status() == 0);
    CHECK(entries_of(on) == std::vector<std::string>{"a", "b"});
    CHECK(run({write_tool, "--mode", "0600", "--overwrite-device", on}, {.input = "c\n"}).status() == 0);
    CHECK(shell("head -c 512 /dev/zero >" + on).status() == 0);
    CHECK(run({write_tool, "--mode", "0600", "--overwrite-device", on}, {.input = "c\n"}).status() == 1);
}

TEST_CASE("info tells how the last writer made pages durable, for people and for programs") {
    const temp_dir dir("/var/tmp");
    const std::string file = dir / "stream";
    const auto told = [&](const std::string& sync) {
        CHECK(run({write_tool, "--size", "1M", file}, {.input = "a\n", .environment = {"PMEMSTREAM_SYNC=" + sync}})
                  .status() == 0);
        return nlohmann::json::parse(run({inspect_tool, "info", "--json", file}).out).at("synced_by");
    };
    CHECK(told("system_calls") == "system_calls");
    CHECK(run({inspect_tool, "info", file}).out.find("synced by     msync and fdatasync\n") != std::string::npos);
    const auto fastest = told("automatic");
    CHECK((fastest == "automatic" || fastest == "system_calls"));  // as the kernel allows
    const auto wrong = run({write_tool, file}, {.environment = {"PMEMSTREAM_SYNC=fast"}});
    CHECK(wrong.status() == 1);
    CHECK(wrong.says("fast"));
}

}  // namespace
