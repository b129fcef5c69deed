#include "tests/durability/watched_medium.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/forced_cache_lines.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

std::unique_ptr<writer> open_with(const small_stream& stream, writer_options options) {
    options.without_control = true;
    return must(writer::open(stream.file, options));
}

/// One suite for both kinds of medium.
struct any_medium {
    std::optional<forced_cache_lines> forced;
    small_stream stream;

    explicit any_medium(bool cache_lines) {
        if (cache_lines)
            forced.emplace();
    }
};

TEST_CASE("append returns at committed, and what is persisted moves when it is asked for") {
    for (const bool cache_lines : {false, true}) {
        CAPTURE(cache_lines);
        const any_medium on(cache_lines);
        const auto to = on.stream.write();
        CHECK(to->info().granularity == (cache_lines ? granularity::cache_line : granularity::page));
        CHECK(to->info().granularity_forced == cache_lines);
        const region a = must(to->allocate(10'000, "a")), b = must(to->allocate(10'000, "b"));
        const auto from = on.stream.read();
        for (int i = 0; i < 5; ++i) {
            must(to->append(a, bytes_of("in a")));
            must(to->append(b, bytes_of("in b")));
        }
        CHECK(to_uint(to->committed()) == 10);
        CHECK(to_uint(to->persisted()) == 0);
        CHECK(must(from.describe(a)).persisted_end == must(from.describe(a)).begin);
        CHECK(must(to->wait_persisted(sequence{7})));
        // A round takes all that is committed.
        CHECK(to_uint(to->persisted()) == 10);
        CHECK(to_uint(from.persisted()) == 10);
        for (const region r : {a, b}) {
            CHECK(must(from.describe(r)).persisted_end == must(from.describe(r)).committed_end);
            CHECK(must(from.describe(r)).persisted == must(from.describe(r)).committed);
        }
        must(to->append(a, bytes_of("more")));
        CHECK(to_uint(to->persisted()) == 10);
        must(to->persist());
        CHECK(to_uint(to->persisted()) == 11);
        CHECK(must(to->wait_persisted(sequence{3}, std::chrono::nanoseconds(0))));
    }
}

TEST_CASE("waiting for an entry that nobody has appended is refused") {
    small_stream stream;
    const auto to = stream.write();
    CHECK(must(to->wait_persisted(sequence::none)));
    CHECK(code_of(to->wait_persisted(sequence{1})) == "invalid_argument");
    const region where = must(to->allocate(1000));
    must(to->append(where, {}));
    CHECK(must(to->wait_persisted(sequence{1})));
    CHECK(code_of(to->wait_persisted(sequence{2})) == "invalid_argument");
    must(to->close());
    CHECK(code_of(to->wait_persisted(sequence{1})) == "invalid_argument");
    CHECK(code_of(to->persist()) == "invalid_argument");
}

TEST_CASE("cursors on the persisted horizon show what is persisted and no more") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(10'000, "a")), b = must(to->allocate(10'000, "b"));
    const auto from = stream.read();
    auto one = must(from.follow(a, {.horizon = horizon::persisted, .registered = false}));
    auto all = must(from.follow_all({.horizon = horizon::persisted, .registered = false}));
    auto newest = must(from.follow(a, {.registered = false}));
    must(to->append(a, bytes_of("1")));
    must(to->append(b, bytes_of("2")));
    CHECK_FALSE(must(one.next()).has_value());
    CHECK_FALSE(must(all.wait(std::chrono::milliseconds(1))).has_value());
    CHECK(text_of(must(newest.next())->payload()) == "1");
    CHECK(one.lag().bytes == 0);
    CHECK(all.lag().sequences == 0);
    must(to->persist());
    must(to->append(a, bytes_of("3")));
    CHECK(one.lag().bytes == 24);
    CHECK(all.lag().sequences == 2);
    CHECK(text_of(must(one.wait())->payload()) == "1");
    CHECK_FALSE(must(one.next()).has_value());
    CHECK(texts_of(all) == std::vector<std::string>{"1", "2"});
    must(to->persist());
    CHECK(texts_of(one) == std::vector<std::string>{"3"});
    CHECK(texts_of(all) == std::vector<std::string>{"3"});
    // Where it starts is a matter of its horizon, too.
    must(to->append(a, bytes_of("4")));
    const auto start = [&](start_at where) {
        return must(from.follow(a, {.start = where, .horizon = horizon::persisted, .registered = false}));
    };
    auto behind = start(from_newest{});
    CHECK(to_uint(behind.position()) == to_uint(must(from.describe(a)).persisted_end));
    CHECK(code_of(from.follow(a, {.start = at_offset{must(from.describe(a)).committed_end},
                                  .horizon = horizon::persisted})) == "invalid_offset");
    auto after_three = start(after{sequence{3}});
    CHECK_FALSE(must(after_three.next()).has_value());
    must(to->persist());
    CHECK(text_of(must(behind.next())->payload()) == "4");
    CHECK(text_of(must(after_three.next())->payload()) == "4");
    must(to->clear(a));
    CHECK(code_of(one.next()) == "region_gone");
}

TEST_CASE("an append can return at persisted: one, or all of a writer's") {
    for (const bool cache_lines : {false, true}) {
        CAPTURE(cache_lines);
        const any_medium on(cache_lines);
        {
            const auto to = on.stream.write();
            const region a = must(to->allocate(10'000, "a")), b = must(to->allocate(10'000, "b"));
            must(to->append(b, bytes_of("not yet")));
            const auto given = must(to->append(a, bytes_of("at once"), horizon::persisted));
            CHECK(must(to->describe(a)).persisted == given);
            CHECK(must(to->describe(a)).persisted_end == must(to->describe(a)).committed_end);
            // On persistent memory only that region was flushed; the stream's sequence does not pass the other's entry.
            CHECK(to_uint(to->persisted()) == (cache_lines ? 0 : 2));
            must(to->append(b, bytes_of("this too"), horizon::persisted));
            CHECK(to_uint(to->persisted()) == 3);
            must(to->append(a, bytes_of("not this"), horizon::committed));
            CHECK(to_uint(to->persisted()) == 3);
        }
        writer_options options;
        options.returns_at = horizon::persisted;
        const auto to = open_with(on.stream, options);
        const region a = must(to->find("a"));
        const auto is_persisted = [&](result<sequence> given) {
            return must(std::move(given)) == must(to->describe(a)).persisted && to->persisted() == to->committed();
        };
        CHECK(is_persisted(to->append(a, bytes_of("every"))));
        CHECK(is_persisted(to->append(a, bytes_of("one of an odd length"))));
        const std::span<const std::byte> batch[] = {bytes_of("of"), bytes_of("them")};
        CHECK(is_persisted(to->append_batch(a, batch)));
        auto claimed = must(to->reserve(a, 8));
        CHECK(is_persisted(to->publish(std::move(claimed))));
    }
}

TEST_CASE("a durable append on persistent memory costs one fence, and its words ride on a later one") {
    const forced_cache_lines forced;
    small_stream stream(8 << 20);
    const auto to = stream.write();
    const region where = must(to->allocate(4 << 20));
    watched_medium medium(stream.file);
    constexpr unsigned appends = 10'000;
    for (unsigned i = 0; i < appends; ++i)
        must(to->append(where, numbered_payload(1, i, 64), horizon::persisted));
    CHECK(medium.drains == appends);
    CHECK(to_uint(to->persisted()) == appends);
}

TEST_CASE("a large durable append on persistent memory is copied past the caches, and survives like a small one") {
    const forced_cache_lines forced;
    small_stream stream(16 << 20);
    watched_medium medium(stream.file);
    writer_options options;
    options.without_control = true;
    SUBCASE("asked for once") {}
    SUBCASE("asked for by the writer") {
        options.returns_at = horizon::persisted;
    }
    std::vector<std::string> expected;
    {
        const auto to = must(writer::open(stream.file, options));
        const region where = must(to->allocate(12 << 20, "r"));
        std::uint64_t number = 0;
        // Around the size from which on it is done, whole words and not, at every place in a cache line.
        for (const std::size_t bytes : {16'383, 16'384, 16'385, 16'391, 20'479, 20'480, 65'536, 100'001, 1'000'000})
            for (const std::size_t before : {0, 8, 16, 24, 32, 40, 48, 56}) {
                must(to->append(where, numbered_payload(1, ++number, before)));
                expected.push_back(text_of(numbered_payload(1, number, before)));
                const auto payload = numbered_payload(2, ++number, bytes);
                must(to->append(where, payload, horizon::persisted));
                expected.push_back(text_of(payload));
                REQUIRE(to_uint(to->persisted()) == number);
                if (bytes == 16'391) {
                    const auto left = stream.dir / ("left" + std::to_string(before));
                    medium.lose_power(left);
                    const auto after = must(writer::open(left, {.without_control = true}));
                    REQUIRE(texts_in(must(reader::open(left, {.without_control = true})), must(after->find("r"))) ==
                            expected);
                }
            }
        const auto committed = to->committed();
        CHECK(code_of(to->append(where, numbered_payload(1, 1, 11 << 20), horizon::persisted)) == "region_full");
        CHECK(to->committed() == committed);
        const auto left = stream.dir / "left";
        medium.lose_power(left);
        const auto after = must(writer::open(left, {.without_control = true}));
        CHECK(after->recovery().regions_cut == 0);
        CHECK(texts_in(must(reader::open(left, {.without_control = true})), must(after->find("r"))) == expected);
    }
    CHECK(texts_in(stream.read(), must(stream.read().find("r"))) == expected);
}

TEST_CASE("a policy persists without being asked: by time, by bytes, never") {
    small_stream stream(8 << 20);
    writer_options options;
    SUBCASE("by time") {
        options.policy.every = std::chrono::milliseconds(5);
    }
    SUBCASE("by bytes") {
        options.policy.every_bytes = 100'000;
    }
    SUBCASE("by both") {
        options.policy = {std::chrono::milliseconds(20), 1'000'000'000};
    }
    const bool bytes_alone = options.policy.every == std::chrono::milliseconds(0);
    const auto to = open_with(stream, options);
    const region where = must(to->allocate(4 << 20));
    must(to->append(where, numbered_payload(1, 1, 1000)));
    if (!bytes_alone)
        CHECK(eventually([&] { return to->persisted() == to->committed(); }));
    for (unsigned i = 0; i < 200; ++i)
        must(to->append(where, numbered_payload(1, i, 1000)));
    CHECK(eventually([&] { return to_uint(to->persisted()) > 90; }));
}

TEST_CASE("what is waited for is in the file that a loss of power leaves, and the writer goes on from there") {
    for (const bool cache_lines : {false, true}) {
        CAPTURE(cache_lines);
        const any_medium on(cache_lines);
        watched_medium medium(on.stream.file);
        const auto to = on.stream.write();
        std::vector<std::string> expected;
        const region where = must(to->allocate(100'000, "r"));
        for (unsigned round = 0; round < 20; ++round) {
            for (unsigned i = 0; i <= round; ++i) {
                expected.push_back(std::to_string(round) + "." + std::to_string(i));
                must(to->append(where, bytes_of(expected.back())));
            }
            must(to->persist());
            must(to->append(where, bytes_of("may be lost")));
            const auto left = on.stream.dir / ("left " + std::to_string(round));
            medium.lose_power(left);
            const auto after = must(writer::open(left, {.without_control = true}));
            CHECK(after->recovery().found == recovery_report::state::rescanned);
            const auto from = must(reader::open(left, {.without_control = true}));
            CHECK(texts_in(from, must(from.find("r"))) == expected);
            CHECK(to_uint(must(after->append(must(after->find("r")), bytes_of("next")))) > expected.size());
            expected.push_back("may be lost");
        }
    }
}

TEST_CASE("the sequences of a region that is freed or cleared are not given again after a loss of power") {
    small_stream stream(4 << 20);
    watched_medium medium(stream.file);
    const auto to = stream.write();
    region last;
    for (int i = 0; i < 10; ++i)  // the last one's slot lies on another page than the header
        last = must(to->allocate(10'000, "r" + std::to_string(i)));
    for (int i = 0; i < 100; ++i)
        must(to->append(last, bytes_of("gone")));
    SUBCASE("freed") {
        must(to->free(last));
    }
    SUBCASE("cleared") {
        must(to->clear(last));
    }
    const auto left = stream.dir / "left";
    medium.lose_power(left);
    const auto after = must(writer::open(left, {.without_control = true}));
    CHECK(to_uint(must(after->append(must(after->find("r0")), {}))) == 101);
}

}  // namespace
