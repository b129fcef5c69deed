#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

reservation reserve_text(writer& to, region where, std::string_view text) {
    auto claimed = must(to.reserve(where, text.size()));
    REQUIRE(claimed.payload().size() == text.size());
    std::ranges::copy(bytes_of(text), claimed.payload().begin());
    return claimed;
}

TEST_CASE("a reservation is seen when it is published, not before") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    const auto from = stream.read();
    auto claimed = reserve_text(*to, where, "in place");
    CHECK(texts_in(from, where).empty());
    CHECK(must(to->describe(where)).used_bytes == 0);
    CHECK(to_uint(must(to->publish(std::move(claimed)))) == 1);
    CHECK(texts_in(from, where) == texts{"in place"});
    CHECK(claimed.payload().empty());
    CHECK(code_of(to->publish(std::move(claimed))) == "invalid_argument");
    CHECK(code_of(to->abandon(std::move(claimed))) == "invalid_argument");
    CHECK(code_of(to->publish(reservation())) == "invalid_argument");
}

TEST_CASE("reservations of 0, 1, 7, 8 and all bytes that are left") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(448));
    texts expected;
    for (const std::size_t bytes : {0, 1, 7, 8}) {
        expected.emplace_back(bytes, 'x');
        must(to->publish(reserve_text(*to, where, expected.back())));
    }
    const auto left = must(to->describe(where)).free_bytes();
    const auto before = read_image(stream.file);
    CHECK(code_of(to->reserve(where, left - 15)) == "region_full");
    CHECK(read_image(stream.file) == before);
    expected.emplace_back(left - 16, 'y');
    must(to->publish(reserve_text(*to, where, expected.back())));
    CHECK(must(to->describe(where)).free_bytes() == 0);
    CHECK(code_of(to->reserve(where, 0)) == "region_full");
    CHECK(texts_in(stream.read(), where) == expected);
}

TEST_CASE("what is published out of order waits for the claims before it and gets sequences in their order") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    const region other = must(to->allocate(1000));
    const auto from = stream.read();
    auto a = reserve_text(*to, where, "a");
    auto b = reserve_text(*to, where, "b");
    auto c = reserve_text(*to, where, "c");
    auto d = reserve_text(*to, where, "d");
    CHECK(must(to->publish(std::move(c))) == sequence::none);
    CHECK(texts_in(from, where).empty());
    // An open reservation holds up its own region only.
    CHECK(to_uint(must(to->append(other, bytes_of("elsewhere")))) == 1);
    CHECK(to_uint(must(to->publish(std::move(a)))) == 2);
    CHECK(texts_in(from, where) == texts{"a"});
    CHECK(to_uint(must(to->publish(std::move(b)))) == 4);
    CHECK(texts_in(from, where) == texts{"a", "b", "c"});
    CHECK(to_uint(must(to->publish(std::move(d)))) == 5);
    CHECK(all_texts(from) == texts{"elsewhere", "a", "b", "c", "d"});
}

TEST_CASE("an abandoned reservation leaves a filler that no cursor shows and every cursor passes") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    const auto from = stream.read();
    auto live = must(from.follow(where, {.check_crc = true}));
    must(to->append(where, bytes_of("before")));
    auto filler = reserve_text(*to, where, "never to be seen");
    auto kept = reserve_text(*to, where, "kept");
    must(to->publish(std::move(kept)));
    must(to->abandon(std::move(filler)));
    must(to->append(where, bytes_of("behind")));
    const texts expected{"before", "kept", "behind"};
    CHECK(texts_of(live) == expected);
    CHECK(texts_in(from, where) == expected);
    CHECK(all_texts(from) == expected);
    // A filler takes space, and no sequence.
    CHECK(must(to->describe(where)).used_bytes == (16 + 8) + (16 + 16) + (16 + 8) + (16 + 8));
    CHECK(to_uint(to->info().committed) == 3);
    auto behind_filler = must(from.follow(where, {.start = after{sequence{1}}}));
    CHECK(texts_of(behind_filler) == texts{"kept", "behind"});
}

TEST_CASE("a region that holds fillers only shows nothing and can be followed on") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    auto live = must(stream.read().follow(where));
    for (int i = 0; i < 3; ++i)
        must(to->abandon(reserve_text(*to, where, "nothing")));
    CHECK(must(live.next()) == std::nullopt);
    CHECK(to->info().committed == sequence::none);
    CHECK(to_uint(must(to->append(where, bytes_of("one")))) == 1);
    CHECK(texts_of(live) == texts{"one"});
}

TEST_CASE("a reservation that goes out of scope is abandoned") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    {
        const auto dropped = reserve_text(*to, where, "dropped");
        CHECK(code_of(to->append(where, {})) == "reservation_open");
    }
    CHECK(to_uint(must(to->append(where, bytes_of("one")))) == 1);
    {
        auto replaced = reserve_text(*to, where, "replaced");
        replaced = reserve_text(*to, where, "two");
        must(to->publish(std::move(replaced)));
    }
    CHECK(texts_in(stream.read(), where) == texts{"one", "two"});
}

TEST_CASE("behind an open reservation appends are refused and nothing changes") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    auto claimed = reserve_text(*to, where, "first");
    const auto before = read_image(stream.file);
    const std::vector<std::span<const std::byte>> batch = {bytes_of("x")};
    CHECK(code_of(to->append(where, bytes_of("x"))) == "reservation_open");
    CHECK(code_of(to->append_batch(where, batch)) == "reservation_open");
    CHECK(read_image(stream.file) == before);
    must(to->publish(std::move(claimed)));
    CHECK(to_uint(must(to->append(where, bytes_of("x")))) == 2);
}

TEST_CASE("64 reservations of a region may be open, and the 65th is refused") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(10'000));
    const region other = must(to->allocate(1000));
    std::vector<reservation> open;
    texts expected;
    for (int i = 0; i < 64; ++i) {
        expected.push_back(std::to_string(i));
        open.push_back(reserve_text(*to, where, expected.back()));
    }
    const auto refused = to->reserve(where, 1);
    CHECK(code_of(refused) == "exhausted");
    CHECK(message_of(refused).find("64") != std::string::npos);
    must(to->publish(reserve_text(*to, other, "other")));
    // The first one makes room; the ring wraps around.
    must(to->publish(std::move(open.front())));
    expected.push_back("64");
    open.push_back(reserve_text(*to, where, expected.back()));
    CHECK(code_of(to->reserve(where, 1)) == "exhausted");
    for (auto claimed = open.rbegin(); claimed + 1 != open.rend(); ++claimed)
        must(to->publish(std::move(*claimed)));
    CHECK(texts_in(stream.read(), where) == expected);
}

TEST_CASE("a region with an open reservation is not freed or cleared unless forced") {
    small_stream stream;
    const auto to = stream.write();
    const region where = must(to->allocate(1000, "r"));
    auto claimed = reserve_text(*to, where, "kept");
    const auto before = read_image(stream.file);
    CHECK(code_of(to->free(where)) == "reservation_open");
    CHECK(code_of(to->clear(where)) == "reservation_open");
    CHECK(read_image(stream.file) == before);
    must(to->publish(std::move(claimed)));
    CHECK(texts_in(stream.read(), where) == texts{"kept"});
    CHECK(code_of(to->free(where)) == "ok");
}

TEST_CASE("a region freed under open reservations takes nothing of them") {
    small_stream stream;
    const auto to = stream.write();
    const region first = must(to->allocate(1000));
    auto published = reserve_text(*to, first, "lost");
    auto dropped = reserve_text(*to, first, "lost too");
    must(to->free(first, true));
    const region second = must(to->allocate(1000));
    REQUIRE(second.index() == first.index());
    CHECK(code_of(to->publish(std::move(published))) == "region_gone");
    dropped = reservation();
    CHECK(to_uint(must(to->append(second, bytes_of("new")))) == 1);
    CHECK(texts_in(stream.read(), second) == texts{"new"});
}

TEST_CASE("a region cleared under open reservations begins anew") {
    small_stream stream;
    const auto to = stream.write();
    const region first = must(to->allocate(1000));
    must(to->append(first, bytes_of("old")));
    auto claimed = reserve_text(*to, first, "lost");
    const region second = must(to->clear(first, true));
    CHECK(code_of(to->abandon(std::move(claimed))) == "region_gone");
    CHECK(to_uint(must(to->append(second, bytes_of("new")))) == 2);
    CHECK(texts_in(stream.read(), second) == texts{"new"});
}

TEST_CASE("closing with open reservations drops them, and the next writer goes on where the prefix ended") {
    small_stream stream;
    {
        const auto to = stream.write();
        const region where = must(to->allocate(1000, "r"));
        auto a = reserve_text(*to, where, "a");
        auto b = reserve_text(*to, where, "b");
        auto c = reserve_text(*to, where, "c");
        must(to->publish(std::move(a)));
        must(to->publish(std::move(c)));
        must(to->close());
        CHECK(code_of(to->publish(std::move(b))) == "invalid_argument");
    }
    const auto to = stream.write();
    CHECK(to->recovery().found == recovery_report::state::clean);
    const region where = must(to->find("r"));
    CHECK(texts_in(stream.read(), where) == texts{"a"});
    CHECK(to_uint(must(to->append(where, bytes_of("d")))) == 2);
    CHECK(texts_in(stream.read(), where) == texts{"a", "d"});
}

}  // namespace
