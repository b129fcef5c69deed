#include "src/format/features.hpp"
#include "src/recovery/opening.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"
#include "tests/support/stream_dump.hpp"
#include "tests/support/stream_forge.hpp"
#include "tests/tools/process.hpp"
#include "tests/verify/salvaged.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <doctest/doctest.h>
#include <bit>
#include <functional>
#include <nlohmann/json.hpp>

// Streams of a library that knows one thing more than this one: read or refused as docs/format.md, "Versions, features and
// flags", says; never cut, never called corrupt.
using namespace pmemstream;
using namespace pmemstream::test;
using format::entry_meta;
using format::system_type;

namespace {

/// Two regions with two entries each, closed.
struct forged_stream : small_stream {
    forged_stream() {
        const auto writer = write();
        const auto a = must(writer->allocate(4096, "a", {.content_type = "text/plain", .values = {{"unit", "mm"}}}));
        const auto b = must(writer->allocate(4096, "b"));
        for (const char* text : {"one", "two"}) {
            must(writer->append(a, bytes_of(text)));
            must(writer->append(b, bytes_of(text)));
        }
        must(writer->close());
    }
    [[nodiscard]] nlohmann::json verify(int status) const {
        const auto got = run({inspect_tool, "verify", file, "--json"});
        REQUIRE_MESSAGE(got.status() == status, got.out << got.err);
        return got.out.empty() ? nlohmann::json() : nlohmann::json::parse(got.out);
    }
    /// A writer refuses it, names `what`, and changes nothing.
    void refuses_writer(std::string_view what) const {
        const auto before = read_image(file);
        const auto opened = writer::open(file, {.control_mode = {}, .without_control = true});
        REQUIRE(!opened);
        CHECK(opened.error().code() == errc::unsupported_format);
        CHECK_MESSAGE(opened.error().message().find(what) != std::string::npos, opened.error().message());
        CHECK(read_image(file) == before);
    }
};

constexpr std::uint32_t top_flag = std::uint32_t{1} << 31;

/// While it lives this program knows, and its writers raise, these features.
struct newer_program {
    explicit newer_program(format::feature_set features) {
        format::known_features = format::raised_features = features;
    }
    ~newer_program() { format::known_features = format::raised_features = {}; }
};

std::function<void()> at_feature_raised;
void step_in(base::kill_point here) {
    if (here == base::kill_point::open_feature_raised && at_feature_raised)
        at_feature_raised();
}

}  // namespace

TEST_CASE("a compatible feature that nobody here knows hinders nobody") {
    for (const std::uint32_t flag : {1u, top_flag}) {
        const forged_stream stream;
        stream_forge(stream.file).header().features.compatible = format::feature_word(flag);
        CHECK(all_texts(stream.read()).size() == 4);
        CHECK(stream.verify(0)["verdict"] == "fine");
        CHECK(salvage(stream.file, 0).entries.size() == 4);
        CHECK(stream.write());
        CHECK(format::features_of(stream_forge(stream.file).header().features.compatible) == flag);
    }
}

TEST_CASE("a read-compatible feature that is not known lets readers and tools read and keeps writers out") {
    for (const std::uint32_t flag : {1u, top_flag}) {
        const forged_stream stream;
        stream_forge(stream.file).header().features.read_compatible = format::feature_word(flag);
        CHECK(all_texts(stream.read()).size() == 4);
        const auto report = stream.verify(0);
        CHECK(report["verdict"] == "fine");
        CHECK(report["notes"].size() == 1);
        CHECK(salvage(stream.file, 0).entries.size() == 4);
        stream.refuses_writer("read-compatible feature " + std::to_string(std::countr_zero(flag)));
    }
}

TEST_CASE("an incompatible feature that is not known keeps everybody out, and is named") {
    for (const std::uint32_t flag : {1u, top_flag}) {
        const forged_stream stream;
        const std::string named = "incompatible feature " + std::to_string(std::countr_zero(flag));
        stream_forge(stream.file).header().features.incompatible = format::feature_word(flag);
        const auto opened = reader::open(stream.file);
        REQUIRE(!opened);
        CHECK(opened.error().code() == errc::unsupported_format);
        CHECK(opened.error().message().find(named) != std::string::npos);
        stream.refuses_writer(named);
        for (const char* command : {"verify", "info", "dump"}) {
            const auto got = run({inspect_tool, command, stream.file});
            CHECK(got.status() == 2);
            CHECK_MESSAGE(got.err.find(named) != std::string::npos, got.err);
        }
        const auto got = run({inspect_tool, "salvage", stream.file, stream.dir / "out"});
        CHECK(got.status() == 2);
        CHECK(!std::filesystem::exists(stream.dir / "out"));
    }
}

TEST_CASE("a feature word with a flipped bit is damage, whichever bit") {
    const forged_stream stream;
    for (unsigned bit = 0; bit < 64; ++bit) {
        CAPTURE(bit);
        stream_forge(stream.file).header().features.incompatible ^= std::uint64_t{1} << bit;
        const auto opened = reader::open(stream.file);
        REQUIRE(!opened);
        CHECK(opened.error().code() == errc::corrupt);
        stream_forge(stream.file).header().features.incompatible ^= std::uint64_t{1} << bit;
    }
}

TEST_CASE("a live cursor notices that a newer program raised a feature, before it reads that program's entries") {
    const forged_stream stream;
    const auto reader = stream.read();
    auto of_one = must(reader.follow(must(reader.find("a"))));
    auto of_all = must(reader.follow_all());
    CHECK(texts_of(of_one) == texts{"one", "two"});
    CHECK(texts_of(of_all).size() == 4);
    {
        const newer_program newer({.compatible = 0, .read_compatible = 4, .incompatible = 2});
        const auto writer = stream.write();
        must(writer->append(must(writer->find("a")), bytes_of("in a later format")));
        format::known_features = {};
        for (const auto& why : {of_one.next(), of_all.next()}) {
            REQUIRE(!why);
            CHECK(why.error().code() == errc::unsupported_format);
            CHECK(why.error().message().find("incompatible feature 1") != std::string::npos);
        }
        format::known_features = {.compatible = 0, .read_compatible = 4, .incompatible = 2};
        must(writer->close());
    }
    CHECK(!stream_forge(stream.file).header().features.compatible);
    // Back in the newer program both go on where they stood.
    const newer_program newer({.compatible = 0, .read_compatible = 4, .incompatible = 2});
    CHECK(texts_of(of_one) == texts{"in a later format"});
}

TEST_CASE("an opening that raises features may be killed between any two stores of it") {
    const forged_stream stream;
    const auto image = stream.dir / "killed here";
    constexpr format::feature_set all{.compatible = 8, .read_compatible = 4, .incompatible = 2};
    unsigned points = 0;
    at_feature_raised = [&] {
        ++points;
        write_image(image, read_image(stream.file));
        const stream_forge seen(image);
        const auto said = must(format::read_features(seen.header().features, "image"));
        // The epoch is still the one before: nothing in the stream needs the feature yet.
        CHECK(seen.epoch() == 1);
        format::known_features = {};
        const auto opened = reader::open(image);
        CHECK(opened.has_value() == (said.incompatible == 0));
        if (opened)
            CHECK(all_texts(*opened).size() == 4);
        else
            CHECK(opened.error().code() == errc::unsupported_format);
        CHECK(run({inspect_tool, "verify", image}).status() == (said.incompatible == 0 ? 0 : 2));
        format::known_features = all;
    };
    {
        const newer_program newer(all);
        base::stepping_in = step_in;
        (void)stream.write();
        base::stepping_in = nullptr;
        at_feature_raised = nullptr;
        CHECK(points == 3);
        // The newer program opens what was left, and finishes.
        const auto again = writer::open(image, {.control_mode = {}, .without_control = true});
        REQUIRE(again);
        CHECK(must(format::read_features(stream_forge(image).header().features, "image")) == all);
    }
}

TEST_CASE("a slot flag of the first class is ignored by who does not know it") {
    const forged_stream stream;
    {
        const stream_forge forge(stream.file);
        forge.slot(0).cold.flags |= 0x8000;
        forge.sign(0);
    }
    CHECK(all_texts(stream.read()).size() == 4);
    CHECK(stream.verify(0)["verdict"] == "fine");
    CHECK(salvage(stream.file, 0).entries.size() == 4);
    const auto writer = stream.write();
    CHECK(must(writer->append(must(writer->find("a")), bytes_of("three"))) == sequence{5});
}

TEST_CASE(
    "a slot flag of the second class that is not known closes that region to readers, and the stream to writers") {
    const forged_stream stream;
    {
        const stream_forge forge(stream.file);
        forge.slot(0).cold.flags |= top_flag;
        forge.sign(0);
    }
    const auto reader = stream.read();
    const auto regions = must(reader.regions());
    REQUIRE(regions.size() == 2);
    CHECK(regions[0].name == "a");
    CHECK(regions[0].unknown_flags == top_flag);
    CHECK(texts_in(reader, regions[1].handle) == texts{"one", "two"});
    for (const auto& code : {reader.follow(regions[0].handle).error().code(), reader.follow_all().error().code(),
                             reader.attributes(regions[0].handle).error().code()})
        CHECK(code == errc::unsupported_format);
    stream.refuses_writer("region slot 0 has flags");
    const auto report = stream.verify(2);
    CHECK(report["verdict"] == "unsupported");
    CHECK(report["findings"].empty());
    CHECK(report["regions"][0]["state"] == "unsupported");
    CHECK(report["regions"][1]["entries"] == 2);
    const auto kept = salvage(stream.file, 3);  // not complete, and says what is left out
    CHECK(kept.entries.size() == 2);
    CHECK(kept.report["regions"][0]["left_ranges"] == 1);
    CHECK(run({inspect_tool, "regions", stream.file}).status() == 0);
}

TEST_CASE("a system entry of an unknown type is skipped by readers and kept by a recovery") {
    for (const bool behind_persisted : {false, true}) {
        CAPTURE(behind_persisted);
        const forged_stream stream;
        std::uint64_t at = 0;
        {
            const stream_forge forge(stream.file);
            const std::uint64_t end = forge.slot(0).commit.commit_offset;
            const std::uint64_t word = forge.slot(0).persist.persisted;
            at = forge.append(0, entry_meta::system(system_type{200}, 12345), "what a later version knows");
            forge.append_user(0, "behind");
            if (behind_persisted) {
                forge.leave_unclean();
                forge.slot(0).persist.persisted = word;
                forge.slot(0).commit.commit_offset = end;
            }
        }
        if (!behind_persisted)
            CHECK(texts_in(stream.read(), must(stream.read().find("a"))) == texts{"one", "two", "behind"});
        const auto report = stream.verify(0);
        CHECK(report["regions"][0]["system_entries"] == (behind_persisted ? 2 : 2));
        CHECK(report["regions"][0]["entries"] == 3);
        CHECK(salvage(stream.file, 0).entries.size() == 5);
        {
            const auto writer = stream.write();
            CHECK(writer->recovery().regions_cut == 0);
            CHECK(texts_in(stream.read(), must(stream.read().find("a"))) == texts{"one", "two", "behind"});
        }
        const auto header = peek<format::entry_header>(stream.file, at);
        CHECK(entry_meta::type(header.meta) == system_type{200});
        CHECK(entry_meta::argument(header.meta) == 12345);
    }
}

TEST_CASE("an unknown bit of an entry is a later version's if the CRC verifies, and damage if not") {
    for (const unsigned bit : {62u, 63u})
        for (const bool system : {false, true}) {
            CAPTURE(bit);
            CAPTURE(system);
            const forged_stream stream;
            std::uint64_t at = 0;
            {
                const stream_forge forge(stream.file);
                const std::uint64_t meta = system ? entry_meta::system(system_type::time, 7) : std::uint64_t{5};
                at = forge.append(0, meta | std::uint64_t{1} << bit, system ? "" : "new");
                forge.append_user(1, "three");
            }
            const auto reader = stream.read();
            for (const bool check_crc : {false, true}) {
                auto cursor = must(reader.follow(must(reader.find("a")), {.check_crc = check_crc}));
                CHECK(text_of((*must(cursor.next())).payload()) == "one");
                CHECK(text_of((*must(cursor.next())).payload()) == "two");
                const auto why = cursor.next();
                REQUIRE(!why);
                CHECK(why.error().code() == errc::unsupported_format);
            }
            const auto report = stream.verify(2);
            CHECK(report["findings"].empty());
            CHECK(report["regions"][0]["unsupported_from"] == at);
            CHECK(salvage(stream.file, 3).entries.size() == 5);
            // The same bit under a CRC that does not know it.
            flip(stream.file, at + 4);
            auto cursor = must(reader.follow(must(reader.find("a"))));
            (void)must(cursor.next()), (void)must(cursor.next());
            const auto why = cursor.next();
            REQUIRE(!why);
            CHECK(why.error().code() == errc::corrupt);
            CHECK(stream.verify(3)["verdict"] == "corrupt");
        }
}

TEST_CASE("a recovery that finds an entry of a later version refuses the stream and cuts nothing") {
    const forged_stream stream;
    {
        const stream_forge forge(stream.file);
        forge.write(0, forge.slot(0).commit.commit_offset, std::uint64_t{5} | std::uint64_t{1} << 62, "new");
        forge.leave_unclean();
    }
    stream.refuses_writer("is of a later version of the format");
    const auto report = stream.verify(2);
    CHECK(report["verdict"] == "unsupported");
    CHECK(report["regions"][0]["torn"].is_null());
}

TEST_CASE("attributes of a kind that nobody here knows are kept") {
    const forged_stream stream;
    const stream_forge forge(stream.file);
    const auto generation = format::generation_of(forge.slot(1).cold.state);
    // A region whose only entry is a head with one attribute more.
    format::region_head head{
        .log_id = generation, .predecessor_generation = 0, .place = 0, .name = "b", .attributes = {}};
    head.attributes.push_back({format::attribute_kind{77}, "later", "value"});
    head.attributes.push_back({format::attribute_kind::user, "key", "value"});
    const auto payload = format::encode_head(head);
    const std::uint64_t begin = forge.slot(1).cold.extent_offset + sizeof(format::extent_header);
    forge.write(1, begin, entry_meta::system(system_type::head),
                {reinterpret_cast<const char*>(payload.data()), payload.size()});
    const std::uint64_t end = begin + format::entry_bytes(payload.size());
    forge.slot(1).commit.commit_offset = end;
    forge.slot(1).persist.persisted = format::persisted_word(end, forge.epoch());
    {
        const auto writer = stream.write();
        const auto b = must(writer->find("b"));
        CHECK(must(writer->attributes(b)).values == std::vector<std::pair<std::string, std::string>>{{"key", "value"}});
        (void)must(writer->clear(b));
        must(writer->close());
    }
    format::region_head after = head;
    after.log_id = format::generation_of(forge.slot(1).cold.state);
    CHECK(after.log_id != head.log_id);
    const auto stored = forge.at<format::entry_header>(begin);
    CHECK(format::decode_head({&forge.at<std::byte>(begin + sizeof stored), stored.payload_bytes}) == after);
}
