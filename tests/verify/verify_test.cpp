// pmemstream-inspect verify on streams that are as they should be, and what it says of them.
#include "tests/corrupt/stream_image.hpp"
#include "tests/crash/dead_stream.hpp"
#include "tests/tools/process.hpp"
#include "tests/verify/churn.hpp"

#include <sys/stat.h>
#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;
using nlohmann::json;

namespace {

ended verify(const std::filesystem::path& file, words more = {}) {
    words all{inspect_tool, "verify", file};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
}

json verified(const std::filesystem::path& file, int status, words more = {}) {
    more.push_back("--json");
    const auto got = verify(file, more);
    CHECK_MESSAGE(got.status() == status, got.out << got.err);
    return json::parse(got.out);
}

std::vector<std::string> keys_of(const json& object) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items())
        keys.push_back(key);
    std::ranges::sort(keys);
    return keys;
}

}  // namespace

TEST_CASE("a closed stream is fine, and its counts are those of what was appended") {
    const temp_dir dir;
    make_small_stream(dir / "s");
    const auto before = read_text(dir / "s");
    const auto got = verified(dir / "s", 0);
    CHECK(got["verdict"] == "fine");
    CHECK(got["state"] == "clean");
    CHECK(got["regions"].size() == 21);
    CHECK(got["findings"].empty());
    const auto large = std::ranges::find_if(got["regions"], [](const json& r) { return r["name"] == "large"; });
    REQUIRE(large != got["regions"].end());
    CHECK((*large)["entries"] == 6);
    CHECK((*large)["fillers"] == 1);
    CHECK((*large)["batches"] == 1);
    CHECK((*large)["payload_bytes"] == 150 + 5 + 31 + 3);
    CHECK(got["totals"]["entries"] == entries_of(dir / "s", std::nullopt).size());
    CHECK(got["totals"]["last_sequence"] == got["committed"]);
    CHECK(read_text(dir / "s") == before);
    const auto text = verify(dir / "s");
    CHECK(text.status() == 0);
    CHECK(text.out.ends_with("fine\n"));
    CHECK(text.err.empty());
}

TEST_CASE("the JSON has the keys that the manual page lists") {
    const temp_dir dir;
    make_small_stream(dir / "s");
    flip(dir / "s", 7936 + 64 + 56 + 6);  // in the first region's first entry
    const auto got = verified(dir / "s", 3);
    CHECK(keys_of(got) == std::vector<std::string>{"block_bytes", "committed", "epoch", "findings", "notes",
                                                   "persisted", "regions", "state", "stream", "stream_bytes", "totals",
                                                   "unreadable_bytes", "uuid", "verdict"});
    CHECK(keys_of(got["totals"]) == std::vector<std::string>{"batches", "bytes", "entries", "fillers", "first_sequence",
                                                             "last_sequence", "payload_bytes", "system_entries"});
    for (const auto& region : got["regions"])
        CHECK(keys_of(region) ==
              std::vector<std::string>{"batches",           "begin",          "bytes",         "committed_end",
                                       "entries",           "extent",         "extent_bytes",  "fillers",
                                       "findings",          "first_sequence", "generation",    "judged_end",
                                       "last_sequence",     "name",           "payload_bytes", "persisted_end",
                                       "recovered_entries", "region",         "slot",          "state",
                                       "system_entries",    "torn",           "unsupported",   "unsupported_from",
                                       "whole_entry_behind"});
    REQUIRE(got["findings"].size() == 1);
    const auto& found = got["findings"][0];
    CHECK(keys_of(found) == std::vector<std::string>{"generation", "kind", "next", "offset", "region", "slot", "what"});
    CHECK(found["kind"] == "entry");
    CHECK(found["slot"] == 0);
    CHECK(found["offset"] == 7936 + 64 + 56);
    CHECK(got["verdict"] == "corrupt");
    // Every key is on the page.
    const std::string page = read_text(PMEMSTREAM_MAN_PAGE);
    for (const auto& part : {got, got["totals"], got["regions"][0], found})
        for (const auto& key : keys_of(part))
            CHECK_MESSAGE(page.find(key) != std::string::npos, key);
}

TEST_CASE("--region judges one region's entries, by name or #GENERATION") {
    const temp_dir dir;
    make_small_stream(dir / "s");
    flip(dir / "s", 7936 + 64 + 56 + 6);
    CHECK(verified(dir / "s", 0, {"-r", "large"})["regions"].size() == 1);
    CHECK(verified(dir / "s", 3, {"-r", "region 0"})["findings"].size() == 1);
    CHECK(verified(dir / "s", 0, {"-r", "#5"})["regions"][0]["generation"] == 5);
    const auto none = verify(dir / "s", {"-r", "none"});
    CHECK(none.status() == 4);
    CHECK(none.says("no region \"none\"; pmemstream-inspect regions lists them"));
}

TEST_CASE("what is no stream is refused with status 2, what is not there with 4") {
    const temp_dir dir;
    make_small_stream(dir / "whole");
    const std::string whole = read_text(dir / "whole");
    write_text(dir / "empty", "");
    write_text(dir / "zeros", std::string(100'000, '\0'));
    write_text(dir / "text", numbered_lines(10'000));
    write_text(dir / "half", whole.substr(0, whole.size() / 2));
    write_text(dir / "sector", whole.substr(0, 300));
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    for (const std::string name : {"empty", "zeros", "text", "half", "sector", "fifo"}) {
        CAPTURE(name);
        CHECK(verify(dir / name).status() == 2);
        CHECK(verify(dir / name).says(name));
    }
    CHECK(verify(dir.path()).status() == 2);
    CHECK(verify(dir / "none").status() == 4);
    CHECK(verify(dir / "none", {"--from", "start"}).status() == 1);
}

TEST_CASE("a stream whose writer was killed is fine as it is, and after the next opening") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    const temp_dir dir;
    unsigned died = 0, unclean = 0;
    for (unsigned round = 0; round < scaled(20); ++round) {
        CAPTURE(round);
        running writer({write_tool, dir / "s", "--size", "8M"}, {.input = numbered_lines(20'000)});
        const std::uint64_t until = 20 + random() % 3000;
        for (bool there = false; !there;) {
            const auto from = reader::open(dir / "s");
            there = from && to_uint(from->committed()) >= until + round * 20'000 % 1000;
        }
        writer.kill(SIGKILL);
        died += writer.wait().signalled;
        const auto got = verified(dir / "s", 0);
        CHECK(got["findings"].empty());
        unclean += got["state"] == "process_died";
        CHECK(got["totals"]["entries"] == entries_of(dir / "s").size());
        // The same file as a copy: everything behind the persisted offsets is looked for.
        std::filesystem::copy_file(dir / "s", dir / "copy", std::filesystem::copy_options::overwrite_existing);
        const auto copy = verified(dir / "copy", 0);
        CHECK(copy["totals"]["entries"] >= got["totals"]["entries"]);
        if (got["state"] == "process_died")
            CHECK(copy["state"] == "rescan");
    }
    MESSAGE(died << " killed, " << unclean << " left unclean");
    CHECK(unclean >= scaled(20) / 2);
}

TEST_CASE("beside a live writer that allocates, fills, clears and frees, nothing is found") {
    const small_stream stream(4 << 20, 64);
    child writer([&] { return churn(stream); });
    unsigned looked = 0, in_use = 0, gone = 0;
    while (looked < scaled(100)) {
        const auto got = verify(stream.file, {"--json"});
        CHECK_MESSAGE(got.status() == 0, got.out << got.err);
        const auto report = json::parse(got.out);
        in_use += report["state"] == "in_use";
        for (const auto& region : report["regions"])
            gone += region["state"] == "gone";
        ++looked;
    }
    writer.kill(SIGKILL);
    CHECK(writer.wait().signalled);
    MESSAGE(in_use << " looks beside the writer, " << gone << " regions went meanwhile");
    CHECK(in_use > looked / 2);
    CHECK(verified(stream.file, 0)["state"] == "process_died");
}
