// Epochs: of streams with more writers than an entry's header can tell apart, of persisted words, and damaged ones.
#include "src/format/entry.hpp"
#include "src/format/rescan.hpp"
#include "src/format/validate.hpp"
#include "src/recovery/scan.hpp"
#include "tests/crash/dead_stream.hpp"
#include "tests/support/entry_crc.hpp"
#include "tests/verify/salvaged.hpp"

using namespace pmemstream;
using namespace pmemstream::test;
using nlohmann::json;

static_assert(format::epochs_ago_max == 127);

namespace {

json verified(const std::filesystem::path& file, int status) {
    const auto got = run({inspect_tool, "verify", file, "--json"});
    CHECK_MESSAGE(got.status() == status, got.out << got.err);
    return json::parse(got.out);
}

struct epoch_stream : dead_stream {
    static constexpr std::uint64_t clean_epoch = identity + offsetof(format::identity_line, clean_epoch);

    explicit epoch_stream(std::uint64_t stream_bytes = 64 << 10) : dead_stream(stream_bytes) {}

    void append(int entries) const {
        const auto to = write();
        const auto known = to->find("a");
        const auto a = known ? *known : must(to->allocate(2000, "a"));
        for (int i = 0; i < entries; ++i)
            must(to->append(a, bytes_of("payload")));
    }
    void set_persisted(std::uint64_t n, std::uint64_t epoch) const {
        poke(file, persisted_offset(0), format::persisted_word(entry_at(0, n), epoch));
    }
    /// As if so many writers had opened and closed it.
    void set_epoch(std::uint64_t epoch) const {
        poke(file, identity, format::epoch_word(epoch));
        poke(file, clean_epoch, format::epoch_word(epoch));
        const auto word = peek<std::uint64_t>(file, persisted_offset(0));
        poke(file, persisted_offset(0), format::persisted_word(format::persisted_offset_of(word), epoch));
    }
    /// Another CRC: that of a writer of the same eight bits.
    void set_entry_epoch(std::uint64_t n, std::uint64_t epoch) const {
        const std::uint64_t at = entry_at(0, n);
        auto header = peek<format::entry_header>(file, at);
        REQUIRE(format::entry_meta::epoch(header.meta) == (epoch & 0xff));
        const auto image = read_image(file);
        header.crc = test::expected_crc(image.data() + at, header.payload_bytes, epoch, header.meta, at,
                                        format::entry_crc_seed(image_at<format::superblock>(image, 0).uuid, 1));
        poke(file, at, header);
    }
};

/// Five entries each of the writers 1, 301 and 100001.
struct many_writers : epoch_stream {
    many_writers() {
        append(5);
        set_epoch(300);
        append(5);
        set_epoch(100'000);
        append(5);
    }
};

/// Twenty persisted entries of writer 1, and ten that writer 2 left when it died.
struct half_persisted : epoch_stream {
    explicit half_persisted(std::uint64_t stream_bytes = 64 << 10) : epoch_stream(stream_bytes) {
        append(20);
        dies_after([](writer& to) {
            for (int i = 0; i < 10; ++i)
                must(to.append(must(to.find("a")), bytes_of("commit")));
        });
    }
};

}  // namespace

TEST_CASE("every entry's epoch is known, however many writers there were") {
    const many_writers stream;
    const auto fine = verified(stream.file, 0);
    CHECK(fine["epoch"] == 100'001);
    CHECK(fine["totals"]["entries"] == 15);
    const auto found_at = [&](std::uint64_t n, std::uint64_t epoch) {
        const auto before = peek<format::entry_header>(stream.file, stream.entry_at(0, n));
        stream.set_entry_epoch(n, epoch);
        const auto got = verified(stream.file, 3);
        poke(stream.file, stream.entry_at(0, n), before);
        REQUIRE(got["findings"].size() == 1);
        CHECK(got["findings"][0]["kind"] == "entry");
        CHECK(got["findings"][0]["what"].get<std::string>().find("epoch out of order") != std::string::npos);
        return (got["findings"][0]["offset"].get<std::uint64_t>() - stream.entry_at(0, 0)) / 24;
    };
    CHECK(found_at(7, 301 - 256) == 7);           // earlier than the one before
    CHECK(found_at(2, 1 + 256) == 3);             // so the next one is earlier than that
    CHECK(found_at(14, 100'001 + 256) == 14);     // of a writer that never was
    CHECK(found_at(14, 100'001 - 99'840) == 14);  // of one long ago
}

TEST_CASE("a persisted word is of no later writer than the header's, and of none before its entries'") {
    const half_persisted stream;
    const auto offsets_only = [&] {
        const auto got = verified(stream.file, 3);
        REQUIRE(got["findings"].size() == 1);
        CHECK(got["findings"][0]["kind"] == "offsets");
        CHECK(got["regions"].size() == 1);
        return got;
    };
    stream.set_persisted(20, 3);
    CHECK(offsets_only()["totals"]["entries"] == 30);
    stream.reboot();
    CHECK(offsets_only()["totals"]["entries"] == 20);
    CHECK_FALSE(writer::open(stream.file));
    stream.set_persisted(20, 0);
    offsets_only();
}

TEST_CASE("what is older than the persisted word behind which it lies is cut, as verify says") {
    const half_persisted stream;
    poke(stream.file, half_persisted::identity, format::epoch_word(3));
    stream.set_persisted(20, 3);
    stream.reboot();
    const auto got = verified(stream.file, 0);
    CHECK(got["verdict"] == "torn_tail");
    CHECK(got["regions"][0]["torn"] == "epoch out of order");
    CHECK(got["regions"][0]["recovered_entries"] == 0);
    CHECK(got["regions"][0]["whole_entry_behind"].is_null());
    // Nor does a salvage bring back what was cut; the commit line still speaks of it.
    CHECK(salvage(stream.file, 3).entries.size() == 20);
    const auto to = stream.write();
    CHECK(to->recovery().entries_recovered == 0);
    CHECK(to->recovery().regions_cut == 1);
    CHECK(to->recovery().regions_cut_before_whole_entries == 0);
}

TEST_CASE("whole entries behind a header that is missing are a torn tail, as far as a recovery looks for them") {
    constexpr std::uint64_t far = (1 << 20) - 32;
    for (const std::uint64_t payload_bytes : {std::uint64_t{8}, far, far + 8}) {
        CAPTURE(payload_bytes);
        const half_persisted stream(4 << 20);
        std::uint64_t missing = 0;
        stream.dies_after([&](writer& to) {
            const auto b = must(to.allocate(2 << 20, "b"));
            must(to.append(b, std::vector<std::byte>(payload_bytes)));
            must(to.append(b, bytes_of("behind")));
        });
        missing = stream.entry_at(1, 0);
        poke(stream.file, missing, format::entry_header{});
        stream.reboot();
        const auto got = verified(stream.file, 0);
        const auto& region = got["regions"][1];
        const bool seen = payload_bytes <= far;
        CHECK(region["torn"].is_string() == seen);
        CHECK(region["whole_entry_behind"] == (seen ? json(missing + 16 + payload_bytes) : json()));
        CHECK(region["judged_end"] == missing);
        const auto to = stream.write();
        CHECK(to->recovery().regions_cut == (seen ? 1 : 0));
        CHECK(to->recovery().regions_cut_before_whole_entries == (seen ? 1 : 0));
        CHECK(to->recovery().entries_recovered == 10);
    }
}

TEST_CASE("with a damaged epoch word nothing tells what a writer would trust: what is persisted is judged") {
    for (const std::uint64_t word : {half_persisted::identity, half_persisted::clean_epoch})
        for (const std::uint64_t byte : {0u, 5u}) {
            CAPTURE(word);
            const half_persisted stream;
            flip(stream.file, word + byte);
            const auto got = verified(stream.file, 3);
            CHECK(got["state"] == "unknown");
            CHECK(got["epoch"] == (word == half_persisted::identity ? json() : json(2)));
            REQUIRE(got["findings"].size() == 1);
            CHECK(got["findings"][0]["kind"] == "header");
            CHECK(got["findings"][0]["offset"] == word);
            CHECK(got["totals"]["entries"] == 20);
            CHECK_FALSE(writer::open(stream.file));
            CHECK(salvage(stream.file, 0).entries.size() == 30);
        }
}

TEST_CASE("a salvage knows the epochs of entries without the header, and those of a header that is a little old") {
    const many_writers stream;
    poke(stream.file, many_writers::identity, std::array<std::byte, 64>{std::byte{7}});
    CHECK(salvage(stream.file, 0).entries.size() == 15);
    for (const std::uint64_t n : {0u, 4u, 7u, 13u}) {
        CAPTURE(n);
        flip(stream.file, stream.entry_at(0, n) + 17);
        CHECK(salvage(stream.file, 3).entries.size() == 14);
        flip(stream.file, stream.entry_at(0, n) + 17);
    }
    const epoch_stream older;
    older.append(5);
    older.set_epoch(300);
    older.append(5);
    older.set_epoch(300);
    CHECK(verified(older.file, 3)["findings"][0]["offset"] == older.entry_at(0, 5));
    CHECK(salvage(older.file, 0).entries.size() == 10);
}

TEST_CASE(
    "a copy that says it is clean and is not is corrupt to readers, and the advice tells what a writer makes of it") {
    const epoch_stream stream;
    stream.append(10);
    const auto copy = stream.dir / "copy";
    const auto verdict = [](const std::filesystem::path& file) {
        const std::uint64_t first_entry = 7936 + sizeof(format::extent_header) + 56;  // behind the head
        poke(file, epoch_stream::commit_offset(0), first_entry + 24 * 3);
        poke(file, epoch_stream::persisted_offset(0), format::persisted_word(first_entry + 24 * 2, 1));
        const auto got = verified(file, 3);
        CHECK(got["findings"][0]["kind"] == "clean_rule");
        return got["findings"][0]["next"].get<std::string>().find("recovers it as after power loss") !=
               std::string::npos;
    };
    std::filesystem::copy_file(stream.file, copy);
    CHECK(verdict(copy));
    CHECK_FALSE(verdict(stream.file));
    const auto to = must(writer::open(copy, {.control_mode = {}, .without_control = true}));
    CHECK(to->recovery().found == recovery_report::state::rescanned);
    CHECK(to->recovery().entries_recovered == 8);
    must(to->close());
    CHECK(verified(copy, 0)["totals"]["entries"] == 10);
    CHECK_FALSE(writer::open(stream.file));
}
