// Bit by bit: what verify says of a stream in which one bit is flipped.
#include "tests/corrupt/effectless_bytes.hpp"
#include "tests/corrupt/stream_image.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/common/exit_code.hpp"
#include "tools/verify/verify.hpp"

#include <pmemstream/reader.hpp>
#include <pmemstream/writer.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

enum class outcome : std::uint8_t { found, refused, silent };

struct answer {
    outcome what = outcome::silent;
    std::string said;
};

answer ask(const std::filesystem::path& file) {
    try {
        const auto report = tools::verify_stream(file);
        if (report.findings.empty())
            return {};
        return {outcome::found, report.findings.front().what};
    } catch (const tools::failed& e) {
        // "Not a stream", "truncated", "unsupported": refused as by everybody.
        return {e.code() == tools::exit_code::not_a_stream ? outcome::refused : outcome::silent, e.what()};
    }
}

struct tally {
    std::uint64_t bits = 0;  // of which every stride-th was flipped
    std::uint64_t flips = 0;
    std::uint64_t found = 0;
    std::uint64_t refused = 0;
    std::uint64_t listed_and_silent = 0;
};

/// Many bytes that are all the same to everybody: one bit of each is enough, and of free slots two.
bool thinned(const piece& p, std::uint64_t offset, unsigned bit) {
    return (p.structure == "superblock page" || p.structure == "region tail" || p.structure == "free blocks" ||
            p.structure == "free region_slot") &&
           bit != offset % 8;
}

void print(const std::map<std::string, tally>& rows) {
    fmt::print("{:<20} {:>7} {:>8} {:>8} {:>8}\n", "struct", "flips", "found", "refused", "silent");
    for (const auto& [name, t] : rows)
        fmt::print("{:<20} {:>7} {:>8} {:>8} {:>8}\n", name, t.flips, t.found, t.refused, t.listed_and_silent);
}

}  // namespace

TEST_CASE("verify finds every flipped bit of a closed stream, or the format page lists it as without effect") {
    const temp_dir dir;
    make_small_stream(dir / "small");
    const auto image = read_file(dir / "small");
    const scratch_file file(dir / "flipped", image);
    const auto whole = tools::verify_stream(file.path());
    REQUIRE(whole.findings.empty());
    REQUIRE(whole.state == tools::stream_state::clean);
    REQUIRE(whole.regions.size() == 21);

    const effectless_bytes page(PMEMSTREAM_FORMAT_PAGE);
    const std::uint64_t seed = seed_from_environment();
    const std::uint64_t stride = std::max<std::uint64_t>(1, 100 / scaled(100));  // 1: every bit
    fmt::print("seed {}, every {}. bit of {} bytes\n", seed, stride, image.size());
    std::map<std::string, tally> rows;
    std::vector<std::string> problems;
    std::uint64_t bit_number = seed % stride;
    for (const auto& p : pieces_of(image)) {
        const bool sector = p.structure == "superblock page";
        for (std::uint64_t offset = sector ? 256 : p.begin; offset < p.end; ++offset) {
            for (unsigned bit = 0; bit < 8; ++bit) {
                if (thinned(p, offset, bit))
                    continue;
                auto& row = rows[p.structure];
                ++row.bits;
                if (++bit_number % stride != 0)
                    continue;
                file.put(offset, image[offset] ^ static_cast<std::byte>(1u << bit));
                const auto got = ask(file.path());
                file.put(offset, image[offset]);
                ++row.flips;
                row.found += got.what == outcome::found;
                row.refused += got.what == outcome::refused;
                const auto listed = page.of(p.structure, offset - p.begin);
                if (got.what != outcome::silent)
                    continue;
                ++row.listed_and_silent;
                if (listed == effectless_bytes::kind::none || !got.said.empty())
                    problems.push_back(fmt::format("{} byte {} (file offset {}) bit {}: nothing found; {}", p.structure,
                                                   offset - p.begin, offset, bit, got.said));
            }
        }
    }
    print(rows);
    for (std::size_t i = 0; i < std::min<std::size_t>(problems.size(), 20); ++i)
        FAIL_CHECK(problems[i]);
    CHECK(problems.size() == 0);
    const auto all_found = [&](const char* structure, std::uint64_t least) {
        CAPTURE(structure);
        CHECK(rows[structure].bits >= least);
        CHECK(rows[structure].flips > least / stride / 2);
        CHECK(rows[structure].found + rows[structure].refused == rows[structure].flips);
    };
    all_found("superblock", 256 * 8);
    all_found("slot_cold", 21 * 1024);
    all_found("extent_header", 21 * 512);
    all_found("entry_header", 35 * 128);
    all_found("entry payload", 300 * 8);
    // Not covered by a CRC, yet written as zeros: verify looks where readers do not.
    CHECK(rows["entry padding"].found > rows["entry padding"].flips * 9 / 10);
    CHECK(rows["region tail"].found == 0);
    CHECK(rows["free blocks"].found == 0);
}

TEST_CASE("no flipped bit of a stream in use makes verify fall over, and those of committed entries are found") {
    const temp_dir dir;
    const auto opened = make_stream_in_use(dir / "small");
    // The copy is one after power loss, or a backup taken in use: behind the persisted offsets it is torn at worst.
    const auto image = read_file(dir / "small");
    const scratch_file file(dir / "flipped", image);
    REQUIRE(tools::verify_stream(file.path()).state == tools::stream_state::rescan);
    REQUIRE(tools::verify_stream(dir / "small").state == tools::stream_state::in_use);
    const auto info = opened->describe(must(opened->find("large"))).value();
    const std::uint64_t persisted = to_uint(info.persisted_end);
    const std::uint64_t committed = to_uint(info.committed_end);
    REQUIRE(persisted + 4 * 40 == committed);

    std::uint64_t flips = 0, found = 0, torn = 0, refused = 0;
    const std::uint64_t stride = std::max<std::uint64_t>(3, 300 / scaled(100));
    std::uint64_t bit_number = seed_from_environment() % stride;
    for (const auto& p : pieces_of(image)) {
        const bool behind = p.begin >= persisted && p.end <= committed;
        for (std::uint64_t bit = p.begin * 8; bit < p.end * 8; ++bit) {
            if (thinned(p, bit / 8, bit % 8) || (++bit_number % stride != 0 && !behind))
                continue;
            const std::uint64_t offset = bit / 8;
            file.put(offset, image[offset] ^ static_cast<std::byte>(1u << bit % 8));
            ++flips;
            CAPTURE(p.structure);
            CAPTURE(offset);
            try {
                const auto report = tools::verify_stream(file.path());
                found += !report.findings.empty();
                torn += report.findings.empty() && report.torn();
                if (behind && (p.structure == "entry_header" || p.structure == "entry payload")) {
                    CHECK(report.findings.empty());
                    CHECK(report.torn());
                } else if (p.structure == "entry_header" || p.structure == "entry payload" ||
                           p.structure == "extent_header" || p.structure == "slot_cold") {
                    CHECK_FALSE(report.findings.empty());
                }
            } catch (const tools::failed& e) {
                ++refused;
                CHECK(e.code() == tools::exit_code::not_a_stream);
            }
            file.put(offset, image[offset]);
        }
    }
    fmt::print("{} flips of a stream in use: {} corrupt, {} torn tails, {} refused\n", flips, found, torn, refused);
    CHECK(torn >= 4 * 36 * 8);
    CHECK(found > 1000 / (stride / 3));
}
