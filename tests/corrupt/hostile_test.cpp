#include "tests/corrupt/exercise.hpp"
#include "tests/corrupt/lies.hpp"
#include "tests/corrupt/stream_image.hpp"
#include "tests/support/child.hpp"
#include "tests/support/shared_memory.hpp"
#include "tests/support/temp_dir.hpp"

#include "src/format/layout.hpp"

#include <pmemstream/fault_guard.hpp>
#include <pmemstream/writer.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <functional>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

/// Runs `body` in a process of its own, so that a crash is a failure like others and names seed and case.
progress run_apart(const char* name, const std::function<void(std::mt19937_64&, progress&)>& body) {
    const std::uint64_t seed = seed_from_environment();
    const shared_memory<progress> seen;
    child runner([&] {
        std::mt19937_64 random(seed);
        body(random, *seen);
        return seen->complaints == 0 ? 0 : 1;
    });
    const auto end = runner.wait();
    fmt::print(
        "{}: seed {}: {} cases, {} refused at open, {} errors later ({} io), {} entries shown, {} opened by a writer\n",
        name, seed, seen->cases, seen->refused_at_open, seen->errors_later, seen->io_errors, seen->entries,
        seen->opened_by_writer);
    std::fflush(stdout);
    CHECK_MESSAGE(!end.signalled, fmt::format("signal {} in case {} of seed {}", end.code, seen->cases, seed));
    CHECK_MESSAGE(end.code == 0, fmt::format("{} complaints, see above", seen->complaints));
    return *seen;
}

/// A small stream, and a file in which to damage copies of it.
struct victim {
    temp_dir dir;
    std::vector<std::byte> image;
    std::vector<piece> pieces;

    victim() {
        make_small_stream(dir / "small");
        image = read_file(dir / "small");
        pieces = pieces_of(image);
    }
};

void damage_at_random(const victim& of, std::vector<std::byte>& image, std::mt19937_64& random) {
    const std::uint64_t hits = 1 + random() % 8;
    for (std::uint64_t i = 0; i < hits; ++i) {
        const auto& p = of.pieces[random() % of.pieces.size()];
        const std::uint64_t begin = p.begin + random() % (p.end - p.begin);
        const std::uint64_t bytes = std::min<std::uint64_t>(1 + random() % 24, image.size() - begin);
        const std::uint64_t how = random() % 4;
        for (std::uint64_t k = begin; k < begin + bytes; ++k)
            image[k] = how == 0   ? std::byte{0}
                       : how == 1 ? std::byte{0xff}
                       : how == 2 ? image[random() % image.size()]
                                  : static_cast<std::byte>(random());
    }
}

}  // namespace

TEST_CASE("random damage of many bytes gives entries that verify, or an error") {
    const victim of;
    const auto seen = run_apart("random damage", [&](std::mt19937_64& random, progress& so_far) {
        const scratch_file file(of.dir / "damaged", of.image);
        exercise_options options;
        for (std::uint64_t i = 0; i < scaled(12'000); ++i) {
            auto image = of.image;
            damage_at_random(of, image, random);
            file.reset(image);
            exercise_file(file.path(), random, options, so_far);
            if (i % 4 == 0)
                exercise_writer(file.path(), random, so_far);
        }
    });
    CHECK(seen.cases == scaled(12'000));
    CHECK(seen.entries > seen.cases);
    CHECK(seen.opened_by_writer > seen.cases / 100);
}

TEST_CASE("a stream cut off at any length is truncated, or no stream any more") {
    const victim of;
    const std::uint64_t step = std::max<std::uint64_t>(1, 1600 / scaled(100));
    const auto seen = run_apart("truncation", [&](std::mt19937_64& random, progress& so_far) {
        const scratch_file file(of.dir / "cut", of.image);
        exercise_options options;
        for (std::uint64_t bytes = 0; bytes < of.image.size(); bytes += bytes < 1200 ? 1 + step / 16 : step) {
            file.reset(std::span(of.image).first(bytes));
            exercise_file(file.path(), random, options, so_far);
            exercise_writer(file.path(), random, so_far);
            if (!file.holds(std::span(of.image).first(bytes)))
                complain(so_far, fmt::format("cut off at {}: somebody changed it", bytes));
        }
    });
    CHECK(seen.cases > 20);
    CHECK(seen.refused_at_open == seen.cases);
    CHECK(seen.opened_by_writer == 0);
}

TEST_CASE("garbage behind a right superblock is refused or shows nothing false") {
    const victim of;
    const auto seen = run_apart("garbage", [&](std::mt19937_64& random, progress& so_far) {
        const scratch_file file(of.dir / "garbage", of.image);
        exercise_options options;
        for (std::uint64_t i = 0; i < scaled(4'000); ++i) {
            auto image = of.image;
            // Behind more and more that is right: sector, header, first segment header, first segment, all the tables.
            const std::uint64_t from = std::array<std::uint64_t, 5>{512, 1024, 1152, 8064, 33000}[i % 5];
            const std::uint64_t kind = random() % 3;
            for (std::uint64_t k = from; k < image.size(); ++k)
                image[k] = kind == 0 ? static_cast<std::byte>(random()) : kind == 1 ? std::byte{0xff} : image[k - 8];
            if (from == 512)
                std::memcpy(image.data() + 512, of.image.data() + 512, random() % 2 == 0 ? 128 : 0);
            file.reset(image);
            exercise_file(file.path(), random, options, so_far);
            exercise_writer(file.path(), random, so_far);
        }
    });
    CHECK(seen.cases == scaled(4'000));
    CHECK(seen.refused_at_open + seen.errors_later >= seen.cases);
}

TEST_CASE("lies under right CRCs give entries that verify, or an error, and writers that stay right") {
    const victim of;
    const liar teller(of.image);
    const auto seen = run_apart("lies", [&](std::mt19937_64& random, progress& so_far) {
        const scratch_file file(of.dir / "lie", of.image);
        exercise_options options;
        for (std::uint64_t i = 0; i < scaled(20'000); ++i) {
            auto image = of.image;
            for (std::uint64_t lies = 1 + random() % 4; lies > 0; --lies)
                teller.lie(image, random);
            file.reset(image);
            exercise_file(file.path(), random, options, so_far);
            if (i % 2 == 0)
                exercise_writer(file.path(), random, so_far);
        }
    });
    CHECK(seen.cases == scaled(20'000));
    CHECK(seen.entries > seen.cases);
    CHECK(seen.opened_by_writer > seen.cases / 20);
    CHECK(seen.errors_later > seen.cases / 10);
}

namespace {

/// A list of regions reads every slot, and of live ones the extent's header.
bool list_needs(const std::vector<piece>& pieces, std::uint64_t lost_from) {
    return std::ranges::any_of(pieces, [lost_from](const piece& p) {
        const std::string_view kind = p.structure;
        return p.begin >= lost_from &&
               (kind.starts_with("slot_") || kind == "free region_slot" || kind == "extent_header");
    });
}

/// Once one page was missed, no answer may rest on what took the place of the others.
void expect_nothing_but_io(const reader& from, region where, std::uint64_t bytes, std::uint64_t pages, progress& seen) {
    const auto expect_io = [&](const char* what, const auto& answer) {
        if (answer || answer.error().code() != errc::io)
            complain(seen, fmt::format("truncated to {} pages: {} says {}", pages, what,
                                       answer ? "nothing is wrong" : answer.error().message()));
    };
    expect_io("find()", from.find("large"));
    expect_io("find() of what is not there", from.find("none"));
    expect_io("describe()", from.describe(where));
    expect_io("regions()", from.regions());
    expect_io("extents()", from.extents());
    expect_io("follow()", from.follow(where));
    expect_io("follow() from the end", from.follow(where, {.start = from_newest{}, .registered = false}));
    expect_io("follow() from nowhere", from.follow(where, {.start = at_offset{offset{1}}, .registered = false}));
    expect_io("follow_all()", from.follow_all({.registered = false}));
    expect_io("registered()", from.registered());
    const auto info = from.info();
    if (info.stream_bytes != bytes || info.clean || info.regions != 0 || info.committed != sequence::none)
        complain(seen, fmt::format("truncated to {} pages: info() says more than the superblock did", pages));
    if (from.writer().restarted)
        complain(seen, fmt::format("truncated to {} pages: a writer that never was", pages));
}

}  // namespace

TEST_CASE("a file that is truncated while it is mapped gives io, and nobody crashes") {
    const victim of;
    const std::uint64_t rounds = scaled(300);
    const auto listed = static_cast<std::size_t>(
        std::ranges::count_if(of.pieces, [](const piece& p) { return p.structure == "extent_header"; }));
    CHECK(list_needs(of.pieces, 4096 * 2));
    CHECK_FALSE(list_needs(of.pieces, 4096 * 9));
    const auto seen = run_apart("truncated while mapped", [&](std::mt19937_64& random, progress& so_far) {
        if (!install_fault_guard())
            complain(so_far, "no fault guard");
        const scratch_file file(of.dir / "mapped", of.image);
        for (std::uint64_t i = 0; i < rounds; ++i) {
            file.reset(of.image);
            ++so_far.cases;
            auto opened = reader::open(file.path(), {.name = {}, .without_control = true});
            auto large = opened ? opened->find("large") : tl::unexpected(opened.error());
            // At most so many pages are left: without the last one that holds entries.
            const auto all = large ? opened->describe(*large) : tl::unexpected(large.error());
            const std::uint64_t pages = i % (all ? (to_uint(all->committed_end) - 1) / 4096 + 1 : 1);
            auto from = large ? opened->follow_all({.check_crc = i % 2 == 0, .registered = false})
                              : tl::unexpected(large.error());
            if (!from) {
                complain(so_far, from.error().message());
                continue;
            }
            std::vector<entry> held;
            for (std::uint64_t k = random() % 30; k > 0; --k)
                if (auto got = from->next(); got && *got)
                    held.push_back(**got);
            auto looking = reader::open(file.path(), {.name = {}, .without_control = true});
            file.truncate(4096 * pages);
            // What is lost and not looked at is not missed: a list of regions is right as long as its own pages are there.
            if (auto regions = looking->regions(); list_needs(of.pieces, 4096 * pages)
                                                       ? regions || regions.error().code() != errc::io
                                                       : !regions || regions->size() != listed)
                complain(so_far, fmt::format("truncated to {} pages: regions() says {}", pages,
                                             regions ? "nothing is wrong" : regions.error().message()));
            exercise_options options{.still = false, .part_lost = true};
            exercise_reader(*opened, random, options, so_far);
            bool io = false;
            for (int k = 0; k < 1000 && !io; ++k) {
                auto got = from->next();
                io = !got && got.error().code() == errc::io;
                if (got && !*got)
                    break;
            }
            for (const auto& e : held) {
                std::vector<std::byte> copy;
                auto read = e.read_into(copy);
                io = io || (!read && read.error().code() == errc::io);
            }
            // The first page alone is not enough for any entry; the whole merged walk must have met the loss.
            if (!io)
                complain(so_far, fmt::format("truncated to {} pages: nobody says io", pages));
            if (io)
                expect_nothing_but_io(*opened, *large, of.image.size(), pages, so_far);
        }
    });
    CHECK(seen.cases == rounds);
    CHECK(seen.io_errors > seen.cases);
}

TEST_CASE("a writer whose file is truncated under it says io and never that an entry is committed") {
    const victim of;
    const std::uint64_t rounds = scaled(100);
    const auto seen = run_apart("truncated under a writer", [&](std::mt19937_64&, progress& so_far) {
        if (!install_fault_guard())
            complain(so_far, "no fault guard");
        const scratch_file file(of.dir / "written", of.image);
        for (std::uint64_t i = 0; i < rounds; ++i) {
            file.reset(of.image);
            ++so_far.cases;
            auto opened = writer::open(file.path(), {.control_mode = {}, .without_control = true});
            auto where = opened ? (*opened)->find("large") : tl::unexpected(opened.error());
            if (!where) {
                complain(so_far, where.error().message());
                continue;
            }
            // So that the page behind the last entry is gone.
            const auto end = (*opened)->describe(*where);
            const std::uint64_t pages = end ? to_uint(end->committed_end) / 4096 : 0;
            file.truncate(4096 * (i % (pages + 1)));
            const std::array<std::byte, 8> payload{};
            if (auto got = (*opened)->append(*where, payload); got)
                complain(so_far,
                         fmt::format("truncated to {} pages: append says sequence {}", i % (pages + 1), to_uint(*got)));
            else
                so_far.io_errors += got.error().code() == errc::io;
            if (auto closed = (*opened)->close(); closed || closed.error().code() != errc::io)
                complain(so_far, "closing says that all is well");
        }
    });
    CHECK(seen.cases == rounds);
    CHECK(seen.io_errors == seen.cases);
}

namespace {

/// Changes a mapped stream for ever: lies and repairs, and words that go to and fro between right and wrong.
[[noreturn]] void scribble(const std::filesystem::path& path, const victim& of, std::uint64_t seed,
                           std::uint64_t& scribbles) {
    std::mt19937_64 random(seed);
    const int fd = ::open(path.c_str(), O_RDWR);
    auto* const mapped =
        static_cast<std::byte*>(::mmap(nullptr, of.image.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (fd < 0 || mapped == MAP_FAILED)
        ::_exit(2);
    const std::span<std::byte> target(mapped, of.image.size());
    const liar teller(of.image);
    std::vector<std::byte> image = of.image;
    for (;;) {
        image = of.image;
        if (random() % 4 == 0)
            teller.swell_segment(image, random);
        else
            for (std::uint64_t lies = 1 + random() % 3; lies > 0; --lies)
                teller.lie(image, random);
        std::vector<std::uint64_t> changed;
        for (std::uint64_t k = 0; k < image.size(); k += 8)
            if (std::memcmp(&image[k], &of.image[k], 8) != 0)
                changed.push_back(k);
        for (std::uint64_t turn = random() % 3000; turn > 0; --turn) {
            const auto& source = turn % 2 == 0 ? image : of.image;
            for (const std::uint64_t k : changed) {
                std::uint64_t word = 0;
                std::memcpy(&word, &source[k], sizeof word);
                __atomic_store_n(reinterpret_cast<std::uint64_t*>(&target[k]), word, __ATOMIC_RELAXED);
            }
            __atomic_fetch_add(&scribbles, 1, __ATOMIC_RELAXED);
        }
        std::memcpy(target.data(), of.image.data(), target.size());
    }
}

}  // namespace

TEST_CASE("a process that scribbles over the stream while it is read makes nobody crash or look outside") {
    const victim of;
    const scratch_file file(of.dir / "scribbled", of.image);
    const shared_memory<std::uint64_t> scribbles;
    const std::uint64_t seed = seed_from_environment();
    fmt::print("scribbler: seed {}\n", seed);
    auto steady = reader::open(file.path(), {.name = {}, .without_control = true});
    REQUIRE(steady);
    child scribbler([&]() -> int { scribble(file.path(), of, seed, *scribbles); });
    const std::uint64_t rounds = scaled(6'000);
    const auto seen = run_apart("scribbled over", [&](std::mt19937_64& random, progress& so_far) {
        exercise_options options{.still = false};
        while (so_far.cases < rounds || __atomic_load_n(&*scribbles, __ATOMIC_RELAXED) < rounds) {
            exercise_file(file.path(), random, options, so_far);
            exercise_reader(*steady, random, options, so_far);
        }
    });
    scribbler.kill(SIGKILL);
    CHECK(scribbler.wait().code == SIGKILL);
    fmt::print("{} scribbles meanwhile\n", *scribbles);
    CHECK(seen.cases >= rounds);
    CHECK(seen.entries > seen.cases);
    CHECK(*scribbles >= rounds);
}
