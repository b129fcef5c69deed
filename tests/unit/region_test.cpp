#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

std::vector<std::string> names_of(const std::vector<region_info>& regions) {
    std::vector<std::string> names;
    for (const auto& r : regions)
        names.push_back(r.name);
    return names;
}

TEST_CASE("regions of different sizes are listed in order of allocation, with what they hold") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(16, "a"));
    const region b = must(to->allocate(5000, "b"));
    const region c = must(to->allocate(64));
    must(to->append(b, bytes_of("12345678")));
    CHECK(a.generation() < b.generation());
    CHECK(b.generation() < c.generation());
    for (const auto& regions : {must(to->regions()), must(stream.read().regions())}) {
        REQUIRE(names_of(regions) == texts{"a", "b", ""});
        CHECK(regions[0].handle == a);
        CHECK(regions[1].handle == b);
        CHECK(regions[2].handle == c);
        CHECK(regions[0].size_bytes == 72);
        CHECK(regions[1].size_bytes == 5000);
        CHECK(regions[1].used_bytes == 24);
        CHECK(regions[1].free_bytes() == 5000 - 24);
        CHECK(to_uint(regions[1].committed_end) == to_uint(regions[1].begin) + 24);
        CHECK(to_uint(regions[1].begin) == to_uint(regions[1].extent) + region_overhead_bytes("b"));
        CHECK(regions[1].extent_bytes == regions[1].size_bytes + region_overhead_bytes("b"));
        CHECK(to_uint(regions[1].committed) == 1);
        CHECK(regions[0].committed == sequence::none);
        CHECK(to_uint(regions[0].first) == 1);
        CHECK(regions[0].creation_ns > 0);
    }
}

TEST_CASE("a cleared region is the last in order of allocation") {
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(16, "a"));
    must(to->allocate(16, "b"));
    const region fresh = must(to->clear(a));
    must(to->allocate(16, "c"));
    for (const auto& regions : {must(to->regions()), must(stream.read().regions())}) {
        CHECK(names_of(regions) == texts{"b", "a", "c"});
        CHECK(regions[1].handle == fresh);
    }
}

TEST_CASE("a region is found by its name while it lives, and a nameless one never") {
    small_stream stream;
    const auto to = stream.write();
    const auto from = stream.read();
    (void)must(to->allocate(100));
    const region named = must(to->allocate(100, "named"));
    CHECK(must(to->find("named")) == named);
    CHECK(must(from.find("named")) == named);
    CHECK(code_of(to->find("name")) == "not_found");
    CHECK(code_of(to->find("")) == "not_found");
    CHECK(code_of(from.find("")) == "not_found");
    must(to->free(named));
    CHECK(code_of(to->find("named")) == "not_found");
    CHECK(code_of(from.find("named")) == "not_found");
    const region again = must(to->allocate(100, "named"));
    CHECK(must(from.find("named")) == again);
    CHECK(again != named);
}

TEST_CASE("a duplicate name, a bad name and a bad size are refused and change nothing") {
    small_stream stream;
    const auto to = stream.write();
    (void)must(to->allocate(100, "taken"));
    const auto before = read_image(stream.file);
    CHECK(code_of(to->allocate(100, "taken")) == "duplicate_name");
    CHECK(code_of(to->allocate(100, std::string(64, 'n'))) == "invalid_argument");
    CHECK(code_of(to->allocate(100, std::string_view("a\0b", 3))) == "invalid_argument");
    CHECK(code_of(to->allocate(0)) == "too_small");
    CHECK(code_of(to->allocate(15)) == "too_small");
    CHECK(code_of(to->allocate(std::uint64_t{1} << 40)) == "too_large");
    CHECK(code_of(to->allocate(std::numeric_limits<std::uint64_t>::max())) == "too_large");
    CHECK(code_of(to->allocate(std::numeric_limits<std::uint64_t>::max() - 64)) == "too_large");
    CHECK(read_image(stream.file) == before);
    CHECK(names_of(must(to->regions())) == texts{"taken"});
}

TEST_CASE("a name of 63 bytes is kept whole") {
    small_stream stream;
    const std::string name(63, 'n');
    const auto to = stream.write();
    const region where = must(to->allocate(100, name));
    CHECK(must(to->find(name)) == where);
    CHECK(code_of(to->find(name.substr(1))) == "not_found");
    CHECK(must(stream.read().describe(where)).name == name);
}

TEST_CASE("a region of 16 bytes holds one empty entry at least") {
    small_stream stream(1 << 20, 64);
    const auto to = stream.write();
    const region where = must(to->allocate(16));
    CHECK(code_of(to->append(where, {})) == "ok");
    CHECK(code_of(to->append(where, {})) == "region_full");
    CHECK(texts_in(stream.read(), where) == texts{""});
}

TEST_CASE("when no run is long enough the error gives the longest one, and that much can be had") {
    small_stream stream(64 << 10, 64);
    const auto to = stream.write();
    std::vector<region> all;
    const std::uint64_t overhead = region_overhead_bytes({});
    for (int i = 0; i < 7; ++i)
        all.push_back(must(to->allocate(4096 - overhead)));
    must(to->free(all[2]));
    must(to->free(all[4]));
    must(to->free(all[5]));
    const auto rest = to->info().largest_free_bytes;
    (void)must(to->allocate(rest - overhead));
    CHECK(to->info().free_bytes == 3 * 4096);
    CHECK(to->info().largest_free_bytes == 2 * 4096);
    const auto before = read_image(stream.file);
    const auto refused = to->allocate(2 * 4096 - overhead + 1);
    CHECK(code_of(refused) == "exhausted");
    CHECK(message_of(refused).find("8192") != std::string::npos);
    CHECK(read_image(stream.file) == before);
    const region fits = must(to->allocate(2 * 4096 - overhead));
    CHECK(must(to->describe(fits)).extent == offset{to_uint(must(to->describe(all[3])).extent) + 4096});
}

TEST_CASE("the handle of a freed region answers region_gone everywhere, also when the slot is used again") {
    small_stream stream;
    const auto to = stream.write();
    const auto from = stream.read();
    const region old = must(to->allocate(1000, "r"));
    must(to->append(old, bytes_of("old")));
    auto reading = must(from.follow(old));
    must(to->free(old));
    for (int round = 0; round < 2; ++round) {
        CHECK(code_of(to->append(old, {})) == "region_gone");
        CHECK(code_of(to->reserve(old, 1)) == "region_gone");
        CHECK(code_of(to->describe(old)) == "region_gone");
        CHECK(code_of(to->free(old)) == "region_gone");
        CHECK(code_of(to->clear(old)) == "region_gone");
        CHECK(code_of(from.describe(old)) == "region_gone");
        CHECK(code_of(from.follow(old)) == "region_gone");
        CHECK(code_of(reading.next()) == "region_gone");
        if (round == 0) {
            const region fresh = must(to->allocate(1000, "r"));
            REQUIRE(fresh.index() == old.index());
            must(to->append(fresh, bytes_of("new")));
        }
    }
    CHECK(code_of(to->append(region(), {})) == "region_gone");
    CHECK(code_of(to->append(region(1'000'000, 1), {})) == "region_gone");
    CHECK(code_of(from.follow(region(1'000'000, 1))) == "region_gone");
    CHECK(all_texts(from) == texts{"new"});
}

TEST_CASE("clearing keeps name and place, empties, and changes the generation") {
    small_stream stream;
    const auto to = stream.write();
    const auto from = stream.read();
    const region old = must(to->allocate(1000, "r"));
    const region other = must(to->allocate(1000, "other"));
    must(to->append(old, bytes_of("one")));
    const auto before = must(to->describe(old));
    const region fresh = must(to->clear(old));
    CHECK(fresh.index() == old.index());
    CHECK(fresh.generation() > other.generation());
    CHECK(code_of(to->append(old, {})) == "region_gone");
    CHECK(code_of(from.follow(old)) == "region_gone");
    const auto now = must(to->describe(fresh));
    CHECK(now.name == "r");
    CHECK(now.extent == before.extent);
    CHECK(now.extent_bytes == before.extent_bytes);
    CHECK(now.used_bytes == 0);
    CHECK(to_uint(now.first) == 2);
    CHECK(must(from.find("r")) == fresh);
    CHECK(texts_in(from, fresh).empty());
    CHECK(to_uint(must(to->append(fresh, bytes_of("two")))) == 2);
    CHECK(texts_in(from, fresh) == texts{"two"});
    // A cleared region counts as allocated anew.
    CHECK(names_of(must(to->regions())) == texts{"other", "r"});
}

TEST_CASE("the region table grows to hundreds of regions, which survive a restart") {
    small_stream stream(1 << 20, 64);
    std::vector<region> all;
    constexpr unsigned count = 300;
    {
        const auto to = stream.write();
        CHECK(to->info().region_slots == 8);
        for (unsigned i = 0; i < count; ++i) {
            all.push_back(must(to->allocate(64, "region " + std::to_string(i))));
            must(to->append(all.back(), bytes_of(std::to_string(i))));
        }
        CHECK(to->info().regions == count);
        CHECK(to->info().region_slots >= count);
    }
    const auto to = stream.write();
    const auto from = stream.read();
    CHECK(must(to->regions()).size() == count);
    std::set<std::uint32_t> indexes;
    for (unsigned i = 0; i < count; ++i) {
        CHECK(must(from.find("region " + std::to_string(i))) == all[i]);
        indexes.insert(all[i].index());
        must(to->append(all[i], bytes_of("more")));
    }
    CHECK(indexes.size() == count);
    CHECK(all_texts(from).size() == 2 * count);
    CHECK(texts_in(from, all[77]) == texts{"77", "more"});
    // Every slot and every block of them can be used again.
    for (const auto& r : all)
        must(to->free(r));
    const auto slots = to->info().region_slots;
    for (unsigned i = 0; i < count; ++i)
        (void)must(to->allocate(64));
    CHECK(to->info().region_slots == slots);
}

TEST_CASE("a full table that finds no room to grow says so and changes nothing") {
    small_stream stream(64 << 10, 64);
    const auto to = stream.write();
    for (int i = 0; i < 7; ++i)
        (void)must(to->allocate(64));
    const region last = must(to->allocate(to->info().largest_free_bytes - 4096));
    const auto before = read_image(stream.file);
    const auto refused = to->allocate(64);
    CHECK(code_of(refused) == "exhausted");
    CHECK(message_of(refused).find("table") != std::string::npos);
    CHECK(read_image(stream.file) == before);
    must(to->free(last));
    CHECK(code_of(to->allocate(64)) == "ok");
}

TEST_CASE("regions, table segments and free runs cover the file without gap or overlap") {
    small_stream stream(1 << 20, 64);
    const auto to = stream.write();
    std::vector<region> all;
    for (int i = 0; i < 40; ++i)
        all.push_back(must(to->allocate(static_cast<std::uint64_t>(64 + 100 * i))));
    for (std::size_t i = 0; i < all.size(); i += 3)
        must(to->free(all[i]));
    const auto extents = must(stream.read().extents());
    std::uint64_t at = 0, free_bytes = 0;
    unsigned regions = 0, segments = 0;
    for (const auto& e : extents) {
        CHECK(to_uint(e.begin) == at);
        at += e.bytes;
        regions += e.kind == extent_info::use::region ? 1 : 0;
        segments += e.kind == extent_info::use::table_segment ? 1 : 0;
        free_bytes += e.kind == extent_info::use::free ? e.bytes : 0;
    }
    CHECK(at == 1 << 20);
    CHECK(regions == 26);
    CHECK(segments == 2);
    CHECK(free_bytes == to->info().free_bytes);
}

}  // namespace
