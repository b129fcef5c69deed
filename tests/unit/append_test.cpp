#include "src/format/layout.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

/// A region that takes exactly this many bytes of entries, with blocks of 64.
region exact_region(writer& to, std::uint64_t bytes) {
    // With a name of 16 bytes what else is in the extent takes two blocks.
    constexpr const char* name = "0123456789abcdef";
    REQUIRE(region_overhead_bytes(name) == 128);
    REQUIRE(bytes % 64 == 0);
    const region where = must(to.allocate(bytes, name));
    REQUIRE(must(to.describe(where)).size_bytes == bytes);
    return where;
}

TEST_CASE("payloads of 0, 1, 7, 8 and 9 bytes, of a block and of more than a block come back as they were") {
    for (const std::uint64_t block_bytes : {64, 4096}) {
        small_stream stream(1 << 20, block_bytes);
        const auto to = stream.write();
        const region where = must(to->allocate(100'000));
        std::vector<std::vector<std::byte>> written;
        std::uint64_t expected_bytes = 0;
        for (const std::size_t bytes : {0ul, 1ul, 7ul, 8ul, 9ul, 15ul, 16ul, 63ul, 64ul, 65ul, 4095ul, 4096ul, 4097ul,
                                        static_cast<std::size_t>(3 * block_bytes + 5)}) {
            written.push_back(numbered_payload(1, written.size(), bytes));
            const auto stamped = to->append(where, written.back());
            REQUIRE(code_of(stamped) == "ok");
            CHECK(to_uint(*stamped) == written.size());
            expected_bytes += 16 + (bytes + 7) / 8 * 8;
            CHECK(must(to->describe(where)).used_bytes == expected_bytes);
        }
        auto cursor = must(stream.read().follow(where, {.check_crc = true}));
        std::size_t seen = 0;
        for (const entry& shown : cursor) {
            REQUIRE(seen < written.size());
            CHECK(std::ranges::equal(shown.payload(), written[seen]));
            CHECK(to_uint(shown.sequence()) == ++seen);
            CHECK(to_uint(shown.offset()) % 8 == 0);
            CHECK(shown.where() == where);
            CHECK(shown.valid());
        }
        CHECK(cursor.status().has_value());
        CHECK(seen == written.size());
    }
}

TEST_CASE("an entry that exactly fills a region leaves it full and readable") {
    small_stream stream;
    const auto to = stream.write();
    const region where = exact_region(*to, 192);
    const auto payload = numbered_payload(2, 0, 192 - 16);
    REQUIRE(code_of(to->append(where, payload)) == "ok");
    CHECK(must(to->describe(where)).free_bytes() == 0);
    CHECK(code_of(to->append(where, {})) == "region_full");
    const auto from = stream.read();
    CHECK(texts_in(from, where) == texts{text_of(payload)});
}

TEST_CASE("an entry one byte too long for a region changes nothing") {
    small_stream stream;
    const auto to = stream.write();
    const region where = exact_region(*to, 192);
    must(to->append(where, bytes_of("first")));
    const auto before = read_image(stream.file);
    const std::uint64_t left = must(to->describe(where)).free_bytes();
    const auto refused = to->append(where, numbered_payload(3, 0, left - 16 + 1));
    CHECK(code_of(refused) == "region_full");
    CHECK(message_of(refused).find(stream.file.string()) != std::string::npos);
    CHECK(read_image(stream.file) == before);
    // And what does fit still fits, with the next sequence.
    CHECK(to_uint(must(to->append(where, numbered_payload(3, 0, left - 16)))) == 2);
    CHECK(must(to->describe(where)).free_bytes() == 0);
}

TEST_CASE("a refused batch changes nothing, wherever in it the space ends") {
    small_stream stream;
    const auto to = stream.write();
    const region where = exact_region(*to, 192);
    must(to->append(where, bytes_of("12345678")));  // 24 of 192 bytes
    const auto big = numbered_payload(4, 0, 72);    // 88 with its header
    const std::vector<std::span<const std::byte>> batch = {big, big};
    const auto before = read_image(stream.file);
    CHECK(code_of(to->append_batch(where, batch)) == "region_full");
    CHECK(code_of(to->append_batch(where, {})) == "invalid_argument");
    CHECK(read_image(stream.file) == before);
    // 168 bytes are left: 88 and 80 fill them.
    const std::vector<std::span<const std::byte>> fitting = {big, std::span(big).first(64)};
    CHECK(to_uint(must(to->append_batch(where, fitting))) == 3);
    CHECK(must(to->describe(where)).free_bytes() == 0);
    CHECK(texts_in(stream.read(), where).size() == 3);
}

TEST_CASE("a batch gives consecutive sequences and returns the last") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(4096));
    const std::vector<std::span<const std::byte>> one = {bytes_of("only")};
    CHECK(to_uint(must(to->append_batch(where, one))) == 1);
    const std::vector<std::span<const std::byte>> three = {bytes_of("a"), {}, bytes_of("ccccccccc")};
    CHECK(to_uint(must(to->append_batch(where, three))) == 4);
    CHECK(to_uint(must(to->append(where, bytes_of("d")))) == 5);
    auto cursor = must(stream.read().follow(where, {.check_crc = true}));
    std::vector<std::uint64_t> stamps;
    for (const entry& shown : cursor)
        stamps.push_back(to_uint(shown.sequence()));
    CHECK(stamps == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
    CHECK(texts_in(stream.read(), where) == texts{"only", "a", "", "ccccccccc", "d"});
}

TEST_CASE("a payload longer than any entry may be is too_large, and nothing of it is read") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(4096));
    const auto before = read_image(stream.file);
    const std::byte one{};
    const std::span<const std::byte> huge(&one, payload_bytes_max + 1);
    CHECK(code_of(to->append(where, huge)) == "too_large");
    const std::vector<std::span<const std::byte>> batch = {huge};
    CHECK(code_of(to->append_batch(where, batch)) == "too_large");
    CHECK(code_of(to->reserve(where, payload_bytes_max + 1)) == "too_large");
    CHECK(code_of(to->reserve(where, std::numeric_limits<std::uint64_t>::max())) == "too_large");
    CHECK(code_of(to->append(where, {&one, payload_bytes_max})) == "region_full");
    CHECK(read_image(stream.file) == before);
}

TEST_CASE("the padding behind a payload is zero, whatever was there before") {
    small_stream stream;
    const auto to = stream.write();
    region where = exact_region(*to, 192);
    must(to->append(where, std::vector<std::byte>(176, std::byte{0xff})));
    where = must(to->clear(where));
    must(to->append(where, bytes_of("123")));
    const auto begin = to_uint(must(to->describe(where)).begin);
    const auto image = read_image(stream.file);
    for (std::size_t i = 3; i < 8; ++i)
        CHECK(image[begin + 16 + i] == std::byte{0});
}

TEST_CASE("sequences increase by one over regions and go on behind a clean restart") {
    small_stream stream;
    region a, b;
    {
        const auto to = stream.write();
        a = must(to->allocate(1000));
        b = must(to->allocate(1000));
        CHECK(to_uint(must(to->append(a, bytes_of("1")))) == 1);
        CHECK(to_uint(must(to->append(b, bytes_of("2")))) == 2);
        CHECK(to_uint(must(to->append(a, bytes_of("3")))) == 3);
        CHECK(to_uint(to->info().committed) == 3);
        must(to->close());
        CHECK(code_of(to->append(a, {})) == "invalid_argument");
    }
    const auto to = stream.write();
    CHECK(to->recovery().found == recovery_report::state::clean);
    CHECK(to_uint(must(to->append(b, bytes_of("4")))) == 4);
    CHECK(all_texts(stream.read()) == texts{"1", "2", "3", "4"});
}

TEST_CASE("sequences go on behind a freed and a cleared region that had the newest") {
    small_stream stream;
    {
        const auto to = stream.write();
        const region keep = must(to->allocate(1000, "keep"));
        const region gone = must(to->allocate(1000));
        must(to->append(keep, bytes_of("1")));
        must(to->append(gone, bytes_of("2")));
        must(to->append(gone, bytes_of("3")));
        must(to->free(gone));
        must(to->append(keep, bytes_of("4")));
        must(to->clear(keep));
    }
    const auto to = stream.write();
    CHECK(to_uint(must(to->append(must(to->find("keep")), bytes_of("5")))) == 5);
}

TEST_CASE("a writer that is closed answers every call with an error") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000, "name"));
    must(to->close());
    must(to->close());
    const auto before = read_image(stream.file);
    CHECK(code_of(to->append(where, {})) == "invalid_argument");
    CHECK(code_of(to->reserve(where, 8)) == "invalid_argument");
    CHECK(code_of(to->allocate(1000)) == "invalid_argument");
    CHECK(code_of(to->free(where)) == "invalid_argument");
    CHECK(code_of(to->clear(where)) == "invalid_argument");
    CHECK(code_of(to->find("name")) == "invalid_argument");
    CHECK(code_of(to->describe(where)) == "invalid_argument");
    CHECK(code_of(to->regions()) == "invalid_argument");
    CHECK(read_image(stream.file) == before);
}

TEST_CASE("every length up to 600 bytes comes back as it was, with its CRC checked") {
    small_stream stream(1 << 20, 64);
    const auto to = stream.write();
    const region where = must(to->allocate(500'000));
    std::vector<std::vector<std::byte>> written;
    for (std::size_t bytes = 0; bytes <= 600; ++bytes) {
        written.push_back(numbered_payload(2, bytes, bytes));
        REQUIRE(code_of(to->append(where, written.back())) == "ok");
    }
    auto cursor = must(stream.read().follow(where, {.check_crc = true}));
    std::size_t seen = 0;
    for (const entry& shown : cursor) {
        REQUIRE(seen < written.size());
        REQUIRE(std::ranges::equal(shown.payload(), written[seen++]));
    }
    CHECK(cursor.status().has_value());
    CHECK(seen == written.size());
}

TEST_CASE("the last sequences are given, one by one, and then no more") {
    small_stream stream;
    region where;
    {
        const auto to = stream.write();
        where = must(to->allocate(10'000));
    }
    // Closed cleanly with five sequences left: committed and persisted say the same.
    constexpr std::uint64_t last = (std::uint64_t{1} << 52) - 1;
    poke(stream.file, format::header_offset + offsetof(format::shared_header, commit), last - 5);
    poke(stream.file, format::header_offset + offsetof(format::shared_header, persist), last - 5);
    const auto to = stream.write();
    const auto payload = numbered_payload(1, 1, 64);
    for (std::uint64_t left = 5; left > 0; --left)
        CHECK(to_uint(must(to->append(where, payload))) == last - left + 1);
    const auto before = must(to->describe(where)).used_bytes;
    CHECK(code_of(to->append(where, payload)) == "exhausted");
    CHECK(code_of(to->append(where, {})) == "exhausted");
    CHECK(must(to->describe(where)).used_bytes == before);
    auto cursor = must(stream.read().follow(where, {.check_crc = true}));
    std::uint64_t seen = 0;
    for (const entry& shown : cursor)
        CHECK(to_uint(shown.sequence()) == last - 4 + seen++);
    CHECK(cursor.status().has_value());
    CHECK(seen == 5);
}

TEST_CASE("who publishes the last entry that gets a sequence is not told that another gets none") {
    small_stream stream;
    (void)must(stream.write()->allocate(10'000, "r"));
    constexpr std::uint64_t last = (std::uint64_t{1} << 52) - 1;
    poke(stream.file, format::header_offset + offsetof(format::shared_header, commit), last - 1);
    poke(stream.file, format::header_offset + offsetof(format::shared_header, persist), last - 1);
    const auto to = stream.write();
    const region where = must(to->find("r"));
    auto first = must(to->reserve(where, 8)), second = must(to->reserve(where, 8)), third = must(to->reserve(where, 8));
    CHECK(code_of(to->publish(std::move(second))) == "ok");  // not yet committed
    CHECK(to_uint(must(to->publish(std::move(first)))) == last);
    CHECK(code_of(to->publish(std::move(third))) == "exhausted");
    CHECK(texts_in(stream.read(), where).size() == 1);
}

}  // namespace
