// What is cut by the next writer is told from what is corrupt; and the next writer does what verify said.
#include "tests/corrupt/stream_image.hpp"
#include "tests/crash/dead_stream.hpp"
#include "tests/tools/process.hpp"

#include <nlohmann/json.hpp>
#include <random>

using namespace pmemstream;
using namespace pmemstream::test;
using nlohmann::json;

namespace {

json verified(const std::filesystem::path& file, int status) {
    const auto got = run({inspect_tool, "verify", file, "--json"});
    CHECK_MESSAGE(got.status() == status, got.out << got.err);
    return json::parse(got.out);
}

/// Twenty persisted entries of 24 bytes, then twenty more that are committed only.
struct half_persisted : dead_stream {
    half_persisted() {
        {
            const auto to = write();
            const auto a = must(to->allocate(2000, "a"));
            for (int i = 0; i < 20; ++i)
                must(to->append(a, bytes_of("persist")));
        }
        dies_after([](writer& to) {
            for (int i = 0; i < 20; ++i)
                must(to.append(must(to.find("a")), bytes_of("commit")));
        });
    }
};

}  // namespace

TEST_CASE("damage behind the persisted offset is a torn tail where the next writer cuts, and corruption where not") {
    for (const std::uint64_t n : {20u, 27u, 39u}) {
        CAPTURE(n);
        const half_persisted stream;
        const std::uint64_t entry = stream.entry_at(0, n);
        flip(stream.file, entry + 17);
        // The row "a process died": the commit offset is trusted, nobody cuts.
        const auto died = verified(stream.file, 3);
        CHECK(died["state"] == "process_died");
        CHECK(died["findings"][0]["offset"] == entry);

        stream.reboot();
        const auto got = verified(stream.file, 0);
        CHECK(got["state"] == "rescan");
        CHECK(got["verdict"] == "torn_tail");
        const auto& region = got["regions"][0];
        CHECK(region["state"] == "torn_tail");
        CHECK(region["torn"] == "wrong CRC");
        CHECK(region["judged_end"] == entry);
        CHECK(region["recovered_entries"] == n - 20);
        CHECK(region["whole_entry_behind"] == (n == 39 ? json() : json(stream.entry_at(0, n + 1))));
        const auto text = run({inspect_tool, "verify", stream.file});
        CHECK(text.out.find("the next writer cuts at " + std::to_string(entry)) != std::string::npos);

        // And so it does.
        const auto to = stream.write();
        CHECK(to->recovery().found == recovery_report::state::rescanned);
        CHECK(to->recovery().entries_recovered == n - 20);
        CHECK(to->recovery().regions_cut == 1);
        CHECK(to_uint(must(to->describe(must(to->find("a")))).committed_end) == entry);
        must(to->close());
        const auto after = verified(stream.file, 0);
        CHECK(after["verdict"] == "fine");
        CHECK(after["totals"]["entries"] == n);
    }
}

TEST_CASE(
    "what a writer that died left whole in pages behind a commit offset is told, and is what the next one finds") {
    for (const std::uint64_t known : {20u, 27u, 39u, 40u}) {
        CAPTURE(known);
        const half_persisted stream;
        poke(stream.file, stream.commit_offset(0), stream.entry_at(0, known));
        const auto got = verified(stream.file, 0);
        const auto& region = got["regions"][0];
        CHECK(got["state"] == "process_died");
        CHECK(got["verdict"] == "fine");
        CHECK(region["entries"] == 40);
        CHECK(region["recovered_entries"] == 40 - known);
        CHECK(region["committed_end"] == stream.entry_at(0, known));
        CHECK(region["judged_end"] == stream.entry_at(0, 40));
        const auto text = run({inspect_tool, "verify", stream.file}).out;
        CHECK((text.find("behind the commit offset " + std::to_string(stream.entry_at(0, known))) !=
               std::string::npos) == (known < 40));
        // A salvage keeps them, too.
        CHECK(run({inspect_tool, "salvage", stream.file, stream.dir / "saved"}).status() == 0);
        CHECK(verified(stream.dir / "saved", 0)["totals"]["entries"] == 40);
        const auto to = stream.write();
        CHECK(to->recovery().found == recovery_report::state::process_died);
        CHECK(to->recovery().entries_recovered == 40 - known);
        CHECK(to_uint(must(to->describe(must(to->find("a")))).committed_end) == stream.entry_at(0, 40));
    }
}

TEST_CASE("where that is torn the next writer cuts, and verify says so if something whole lies behind") {
    for (const bool all_lines_are_old : {false, true}) {
        CAPTURE(all_lines_are_old);
        const half_persisted stream;
        poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 25));
        if (all_lines_are_old) {
            poke(stream.file, stream.commit_sequence(0), std::uint64_t{25});
            poke(stream.file, stream.stream_sequence, std::uint64_t{25});
        }
        flip(stream.file, stream.entry_at(0, 30) + 17);
        const auto got = verified(stream.file, 0);
        const auto& region = got["regions"][0];
        CHECK(got["verdict"] == "torn_tail");
        CHECK(region["recovered_entries"] == 5);
        CHECK(region["judged_end"] == stream.entry_at(0, 30));
        CHECK(region["whole_entry_behind"] == stream.entry_at(0, 31));
        const auto to = stream.write();
        CHECK(to->recovery().entries_recovered == 5);
        CHECK(to->recovery().regions_cut_before_whole_entries == 1);
    }
}

TEST_CASE("of a commit offset before the persisted one, left in pages, verify says what the next writer makes of it") {
    for (const std::uint64_t torn : {17u, 25u, 40u}) {
        CAPTURE(torn);
        half_persisted stream;
        stream.dies_after([](writer& to) {
            must(to.persist());
            must(to.append(must(to.find("a")), bytes_of("commit")));
        });
        // Nobody can have them torn but the medium, and what is persisted is never cut.
        const bool damaged = torn < 40;
        flip(stream.file, stream.entry_at(0, torn) + 17);
        poke(stream.file, stream.commit_offset(0), stream.entry_at(0, 30));
        poke(stream.file, stream.commit_sequence(0), std::uint64_t{30});  // the header's are in a sector of their own
        const auto got = verified(stream.file, damaged ? 3 : 0);
        const auto& region = got["regions"][0];
        CHECK(got["state"] == "process_died");
        CHECK(got["findings"].size() == (damaged ? 1 : 0));
        CHECK(region["entries"] == 40);
        CHECK(region["recovered_entries"] == (damaged ? 1 : 0));
        CHECK(region["judged_end"] == stream.entry_at(0, damaged ? 41 : 40));
        // Until a writer has opened it, a reader does not know what to make of it.
        CHECK(code_of(stream.read().describe(must(stream.read().find("a")))) == "corrupt");
        CHECK(run({inspect_tool, "salvage", stream.file, stream.dir / "saved"}).status() == (damaged ? 3 : 0));
        CHECK(verified(stream.dir / "saved", 0)["totals"]["entries"] == 40);
        const auto to = stream.write();
        CHECK(to->recovery().found == recovery_report::state::process_died);
        CHECK(to->recovery().entries_recovered == region["recovered_entries"]);
        CHECK(to_uint(must(to->describe(must(to->find("a")))).committed_end) == region["judged_end"]);
    }
}

TEST_CASE("damage before the persisted offset is corruption, whatever the header says, and others go on") {
    for (const bool reboot : {false, true}) {
        const half_persisted stream;
        if (reboot)
            stream.reboot();
        flip(stream.file, stream.entry_at(0, 3) + 18);
        flip(stream.file, stream.entry_at(0, 9));
        const auto got = verified(stream.file, 3);
        REQUIRE(got["findings"].size() == 2);
        CHECK(got["findings"][0]["offset"] == stream.entry_at(0, 3));
        CHECK(got["findings"][0]["region"] == "a");
        CHECK(got["findings"][0]["generation"] == 1);
        CHECK(got["findings"][1]["offset"] == stream.entry_at(0, 9));
        CHECK(got["regions"][0]["entries"] == 38);
    }
}

TEST_CASE("a batch of which the medium has a part is a torn tail") {
    const half_persisted stream;
    stream.dies_after([](writer& to) {
        const std::vector<std::span<const std::byte>> batch{bytes_of("one"), bytes_of("two"), bytes_of("three")};
        must(to.append_batch(must(to.find("a")), batch));
    });
    stream.reboot();
    CHECK(verified(stream.file, 0)["regions"][0]["batches"] == 1);
    poke(stream.file, stream.entry_at(0, 42), std::array<std::byte, 24>{});
    const auto got = verified(stream.file, 0);
    CHECK(got["verdict"] == "torn_tail");
    CHECK(got["regions"][0]["torn"] == "an incomplete batch");
    CHECK(got["regions"][0]["judged_end"] == stream.entry_at(0, 40));
    CHECK(got["regions"][0]["batches"] == 0);
}

TEST_CASE("after power loss the next writer recovers just what verify said it would") {
    const std::uint64_t seed = seed_from_environment();
    MESSAGE("PMEMSTREAM_SEED=" << seed);
    std::mt19937_64 random(seed);
    unsigned torn = 0;
    for (unsigned round = 0; round < scaled(40); ++round) {
        CAPTURE(round);
        const half_persisted stream;
        stream.reboot();
        // Pieces of what was not persisted never reached the medium.
        const std::uint64_t begin = stream.entry_at(0, 20);
        for (unsigned i = 0; i < 1 + round % 3; ++i)
            poke(stream.file, begin + random() % (60 * 8) * 8 % (20 * 24), std::array<std::byte, 8>{});
        const auto got = verified(stream.file, 0);
        torn += got["regions"][0]["torn"].is_string();
        const auto to = stream.write();
        CHECK(to->recovery().entries_recovered == got["regions"][0]["recovered_entries"]);
        CHECK(to->recovery().regions_cut == got["regions"][0]["torn"].is_string());
        CHECK(to_uint(must(to->describe(must(to->find("a")))).committed_end) == got["regions"][0]["judged_end"]);
    }
    CHECK(torn >= scaled(40) / 4);
}
