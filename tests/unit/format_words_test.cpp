#include "src/format/layout.hpp"
#include "src/format/system_entry.hpp"
#include "src/format/words.hpp"

#include <doctest/doctest.h>
#include <cstddef>
#include <cstdint>
#include <span>

namespace {

using namespace pmemstream::format;

TEST_CASE("a word that carries its own check notices every flipped bit, and every two") {
    const auto noticed = [](std::uint64_t word, const auto& holds) {
        unsigned missed = 0;
        for (unsigned a = 0; a < 64; ++a)
            for (unsigned b = a; b < 64; ++b)
                missed += holds(word ^ std::uint64_t{1} << a ^ (a == b ? 0 : std::uint64_t{1} << b)) ? 1 : 0;
        return missed == 0;
    };
    for (const std::uint64_t bytes : {std::uint64_t{7936}, std::uint64_t{1} << 20, stream_bytes_max}) {
        CHECK(stream_bytes_of(size_word(bytes)) == bytes);
        CHECK(noticed(size_word(bytes), [](std::uint64_t word) { return stream_bytes_of(word).has_value(); }));
    }
    for (const std::uint64_t index : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{12345}, sequence_max}) {
        CHECK(index_of(index_word(index)) == index);
        CHECK(noticed(index_word(index), [](std::uint64_t word) { return index_of(word).has_value(); }));
    }
    CHECK(!index_of(0));
    for (const std::uint32_t flags : {1u, 0x80000000u, 0x12345678u}) {
        CHECK(features_of(feature_word(flags)) == flags);
        CHECK(noticed(feature_word(flags), [](std::uint64_t word) { return features_of(word).has_value(); }));
    }
    CHECK(feature_word(0) == 0);
    CHECK(features_of(0) == 0u);
}

TEST_CASE("a successor's slot and generation come back as they were") {
    const std::uint64_t word = successor_word(region_slots_max - 1, generation_max);
    CHECK(successor_slot_of(word) == region_slots_max - 1);
    CHECK(successor_generation_of(word) == generation_max);
    CHECK(successor_word(0, 1) != 0);
}

TEST_CASE("a head comes back as it was, and no shortened or changed one does") {
    const region_head head{
        .log_id = 7,
        .predecessor_generation = 6,
        .place = 3,
        .name = "prices",
        .attributes = {{attribute_kind::content_type, "", "application/json"}, {attribute_kind::user, "unit", ""}}};
    const auto payload = encode_head(head);
    CHECK(payload.size() == head_payload_bytes(head));
    CHECK(decode_head(payload) == head);
    for (std::size_t bytes = 0; bytes < payload.size(); ++bytes)
        CHECK(!decode_head(std::span(payload).first(bytes)));
    // What clearing changes is not covered, all else is.
    for (std::size_t at = offsetof(head_payload, name_bytes); at < payload.size(); ++at) {
        auto changed = payload;
        changed[at] ^= std::byte{1};
        CHECK(!decode_head(changed));
    }
    auto large = head;
    large.attributes[1].value.assign(head_text_bytes_max, 'x');
    CHECK(!head_payload_bytes(large));
    large.attributes[1].value.resize(head_text_bytes_max - 6 - 2 * 8 - 16 - 4);
    CHECK(head_payload_bytes(large) == sizeof(head_payload) + head_text_bytes_max);
    CHECK(decode_head(encode_head(large)) == large);
}

}  // namespace
