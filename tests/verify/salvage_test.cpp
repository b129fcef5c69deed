// pmemstream-inspect salvage on streams that are whole, in use, or not there.
#include "src/base/crc32c.hpp"
#include "tests/crash/dead_stream.hpp"
#include "tests/verify/churn.hpp"
#include "tests/verify/salvaged.hpp"

#include <unistd.h>
#include <csignal>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;

TEST_CASE("a whole stream comes over whole: regions, names, sizes, batches, order") {
    const temp_dir dir;
    make_small_stream(dir / "s");
    const auto before = read_text(dir / "s");
    const auto got = salvage(dir / "s", 0);
    CHECK(got.entries == entries_in_order(dir / "s"));
    CHECK(got.report["table_whole"] == true);
    CHECK(got.report["superblock_whole"] == true);
    CHECK(got.report["block_bytes"] == 64);
    CHECK(got.left().empty());
    const auto original = dump_merged(dir / "s");
    REQUIRE(got.regions.size() == original.regions.size());  // the freed one is not among them
    for (std::size_t i = 0; i < got.regions.size(); ++i) {
        CHECK(got.regions[i].name == original.regions[i].name);
        CHECK(got.regions[i].size_bytes == original.regions[i].size_bytes);
    }
    const auto& large = got.report["regions"].back();
    CHECK(large["name"] == "large");
    CHECK(large["batches"] == 1);
    CHECK(large["old_last"].get<std::uint64_t>() >= large["new_last"].get<std::uint64_t>());
    CHECK(read_text(dir / "s") == before);
}

TEST_CASE("the JSON's keys are on the manual page") {
    const temp_dir dir;
    make_small_stream(dir / "s");
    flip(dir / "s", 7936 + 64 + 56 + 6);
    const auto got = salvage(dir / "s", 3);
    const std::string page = read_text(PMEMSTREAM_MAN_PAGE);
    std::vector<std::string> keys;
    for (const auto& part : {got.report, got.report["regions"][0], got.report["regions"][0]["left"][0]})
        for (const auto& [key, value] : part.items())
            keys.push_back(key);
    CHECK(keys.size() == 13 + 19 + 3);
    for (const auto& key : keys)
        CHECK_MESSAGE(page.find(key) != std::string::npos, key);
    const auto text = run({inspect_tool, "salvage", dir / "s", dir / "text"});
    CHECK(text.status() == 3);
    CHECK(text.out.find("left: region region 0 (generation 1), from 8056 to ") != std::string::npos);
    CHECK(text.out.find("sequences are given anew") != std::string::npos);
    CHECK(text.out.find("not all came over") != std::string::npos);
}

TEST_CASE("what exists is not overwritten, what is no stream not taken for one, and nothing is left behind") {
    const temp_dir dir;
    make_small_stream(dir / "s");
    write_text(dir / "there", "mine");
    const auto refused = run({inspect_tool, "salvage", dir / "s", dir / "there"});
    CHECK(refused.status() == 4);
    CHECK(refused.says("is there already"));
    CHECK(read_text(dir / "there") == "mine");
    write_text(dir / "empty", "");
    write_text(dir / "zeros", std::string(100'000, '\0'));
    write_text(dir / "text", numbered_lines(20'000));
    for (const std::string name : {"empty", "zeros", "text"}) {
        CAPTURE(name);
        CHECK(run({inspect_tool, "salvage", dir / name, dir / "out"}).status() == 2);
    }
    CHECK(run({inspect_tool, "salvage", dir / "none", dir / "out"}).status() == 4);
    CHECK(run({inspect_tool, "salvage", dir / "s"}).status() == 1);
    CHECK(run({inspect_tool, "salvage", dir / "s", dir / "no" / "such"}).status() == 4);
    CHECK_FALSE(std::filesystem::exists(dir / "out"));
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 5);
}

TEST_CASE("beside a live writer, what was committed comes over; after a kill, everything that was") {
    const temp_dir dir;
    running writer({write_tool, dir / "s", "--size", "64M"});
    std::uint64_t sent = 0;
    std::size_t most = 0;
    for (unsigned round = 0; round < scaled(10); ++round) {
        writer.send(numbered_lines(3000));
        sent += 3000;
        for (bool there = false; !there;) {
            const auto from = reader::open(dir / "s");
            there = from && to_uint(from->committed()) > most + 100;
        }
        const auto got = salvage(dir / "s", 0);
        CHECK(got.entries.size() > most);
        CHECK(got.entries.size() <= sent);
        most = got.entries.size();
        for (std::size_t i = 0; i < got.entries.size(); ++i) {
            const auto& payload = got.entries[i].payload;
            const std::string line(reinterpret_cast<const char*>(payload.data()), payload.size());
            if (line != std::to_string(i % 3000 + 1))
                FAIL_CHECK(line << " is entry " << i);
        }
    }
    writer.kill(SIGKILL);
    CHECK(writer.wait().signalled);
    CHECK(salvage(dir / "s", 0).entries == entries_in_order(dir / "s"));
    // And of a copy, in which nothing was persisted.
    std::filesystem::copy_file(dir / "s", dir / "copy");
    CHECK(salvage(dir / "copy", 0).entries == entries_in_order(dir / "s"));
}

TEST_CASE("beside a live writer that allocates, fills, clears and frees, what goes meanwhile is no loss") {
    const small_stream stream(4 << 20, 64);
    child writer([&] { return churn(stream); });
    unsigned looked = 0, gone = 0;
    std::uint64_t entries = 0;
    for (; looked < scaled(60); ++looked) {
        const auto got = salvage(stream.file, 0);
        entries += got.entries.size();
        for (const auto& region : got.report["regions"])
            gone += region["gone"] == true;
    }
    writer.kill(SIGKILL);
    CHECK(writer.wait().signalled);
    MESSAGE(entries << " entries, " << gone << " regions went meanwhile");
    CHECK(entries > 0);
    CHECK(gone > 0);
    CHECK(salvage(stream.file, 0).entries == entries_in_order(stream.file));
}

TEST_CASE("many regions, entries larger than any buffer, and empty ones") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const small_stream stream(64 << 20, 4096);
    {
        const auto to = stream.write();
        std::vector<region> regions;
        for (int i = 0; i < 150; ++i)
            regions.push_back(must(to->allocate(20'000, i % 7 == 0 ? "" : "r" + std::to_string(i))));
        const auto large = must(to->allocate(20 << 20, "large"));
        std::vector<std::byte> payload(5'000'001);
        for (auto& b : payload)
            b = static_cast<std::byte>(random());
        for (int i = 0; i < 2000; ++i)
            (void)to->append(regions[random() % regions.size()], std::span(payload).first(random() % 900));
        for (int i = 0; i < 3; ++i)
            must(to->append(large, std::span(payload).first(payload.size() - static_cast<std::size_t>(i))));
        const std::vector<std::span<const std::byte>> batch(3, std::span(payload).first(1'200'000));
        must(to->append_batch(large, batch));
    }
    const auto got = salvage(stream.file, 0);
    CHECK(got.regions.size() == 151);
    CHECK(got.entries == entries_in_order(stream.file));
}

TEST_CASE("a salvage that is ended by a signal leaves nothing") {
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s", "--size", "256M"}, {.input = numbered_lines(1'500'000)}).status() == 0);
    unsigned ended_early = 0;
    for (unsigned round = 0; round < 20 && ended_early == 0; ++round) {
        running tool({inspect_tool, "salvage", dir / "s", dir / "out"});
        tool.await_handler(SIGTERM);
        tool.kill(SIGTERM);
        const auto got = tool.wait();
        ended_early += got.status() == 128 + SIGTERM;
        CHECK((got.status() == 128 + SIGTERM || got.status() == 0));
        CHECK(std::filesystem::exists(dir / "out") == (got.status() == 0));
        std::filesystem::remove(dir / "out");
        for (const auto& file : std::filesystem::directory_iterator(dir.path()))
            CHECK_FALSE(file.path().string().ends_with(".salvaging"));
    }
    CHECK(ended_early == 1);
}

TEST_CASE("verify and salvage need no memory for entries") {
    if (base::detail::sanitized)
        return;  // sanitizers take more than any limit for themselves
    const temp_dir dir;
    CHECK(run({write_tool, dir / "s", "--size", "256M"}, {.input = numbered_lines(1'500'000)}).status() == 0);
    // 20 bytes for each would be too much already.
    const std::string limit = "ulimit -d 30000 && ";
    CHECK(shell(limit + "$INSPECT verify " + (dir / "s").string()).status() == 0);
    const auto got = shell(limit + "$INSPECT salvage " + (dir / "s").string() + " " + (dir / "out").string());
    CHECK_MESSAGE(got.status() == 0, got.err);
    CHECK(got.out.find("1500000 entries in ") != std::string::npos);
}
