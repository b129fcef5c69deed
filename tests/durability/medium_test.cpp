// A medium that refuses, and many who wait for it.
#include "tests/durability/watched_medium.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/small_stream.hpp"

#include "src/format/layout.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

std::uint32_t medium_flags(const small_stream& stream) {
    return peek<std::uint32_t>(stream.file, format::header_offset + offsetof(format::identity_line, medium_flags));
}

TEST_CASE("when the medium refuses, nothing passes for persisted until the stream was opened anew and scanned") {
    for (const int why : {EIO, ENOSPC}) {
        CAPTURE(why);
        small_stream stream;
        {
            watched_medium medium(stream.file);
            const auto to = stream.write();
            const region where = must(to->allocate(10'000, "r"));
            must(to->append(where, bytes_of("safe")));
            must(to->persist());
            must(to->append(where, bytes_of("refused")));
            const auto end = to_uint(must(to->describe(where)).persisted_end);
            medium.refuse_with = why;
            const auto failed = to->wait_persisted(sequence{2});
            CHECK(code_of(failed) == (why == EIO ? "io" : "no_space"));
            CHECK(failed.error().system_error() == why);
            CHECK(message_of(failed).find(stream.file.string()) != std::string::npos);
            CHECK(message_of(failed).find(std::to_string(end)) != std::string::npos);
            CHECK(to_uint(to->persisted()) == 1);
            CHECK((medium_flags(stream) & format::medium_error_flag) != 0);
            // A later flush that works proves nothing.
            medium.refuse_with = 0;
            CHECK(code_of(to->wait_persisted(sequence{2})) == code_of(failed));
            CHECK(code_of(to->persist()) == code_of(failed));
            CHECK(code_of(to->append(where, bytes_of("committed"), horizon::persisted)) == code_of(failed));
            CHECK(to_uint(to->persisted()) == 1);
            // Readers and appends at committed go on.
            CHECK(to_uint(must(to->append(where, bytes_of("committed too")))) == 4);
            CHECK(texts_in(stream.read(), where).size() == 4);
            CHECK(texts_in(stream.read(), where, {.horizon = horizon::persisted}) == std::vector<std::string>{"safe"});
            CHECK(code_of(to->close()) == code_of(failed));
            CHECK_FALSE(stream.read().info().clean);
        }
        watched_medium medium(stream.file);
        const auto to = stream.write();
        CHECK(to->recovery().found == recovery_report::state::rescanned);
        CHECK(to->recovery().entries_recovered == 3);
        CHECK((medium_flags(stream) & format::medium_error_flag) == 0);
        CHECK(to->persisted() == to->committed());
        const auto left = stream.dir / "left";
        medium.lose_power(left);
        CHECK(texts_in(must(reader::open(left, {.without_control = true})), must(to->find("r"))).size() == 4);
    }
}

TEST_CASE("an opening whose flushes are refused leaves a note, and the next one does not believe commit offsets") {
    small_stream stream;
    {
        const auto to = stream.write();
        must(to->append(must(to->allocate(10'000, "r")), bytes_of("a")));
    }
    {
        watched_medium medium(stream.file);
        medium.refuse_with = EIO;
        CHECK(code_of(writer::open(stream.file, {.without_control = true})) == "io");
        CHECK((medium_flags(stream) & format::medium_error_flag) != 0);
    }
    poke(stream.file, format::header_offset + offsetof(format::identity_line, clean_epoch), std::uint64_t{0});
    const auto to = stream.write();
    CHECK(to->recovery().found == recovery_report::state::rescanned);
    CHECK(texts_in(stream.read(), must(to->find("r"))) == std::vector<std::string>{"a"});
}

TEST_CASE("threads that wait at the same time share the flushes, and each gets what it waits for") {
    small_stream stream(16 << 20);
    watched_medium medium(stream.file);
    const auto to = stream.write();
    const region where = must(to->allocate(8 << 20));
    constexpr unsigned threads = 16, each = 100;
    std::mutex appending;
    std::atomic<unsigned> wrong{0};
    // A sync takes its time, as a disk's does: others append meanwhile, if there are any left.
    medium.meanwhile = [&, before = std::uint64_t{0}]() mutable {
        for (int i = 0; i < 20'000 && to_uint(to->committed()) < before + 4; ++i)
            sched_yield();
        before = to_uint(to->committed());
    };
    std::vector<std::thread> waiting;
    for (unsigned t = 0; t < threads; ++t)
        waiting.emplace_back([&] {
            for (unsigned i = 0; i < each; ++i) {
                sequence given{};
                {
                    const std::lock_guard lock(appending);
                    given = must(to->append(where, numbered_payload(2, i, 40)));
                }
                wrong += must(to->wait_persisted(given)) && to->persisted() >= given ? 0 : 1;
            }
        });
    for (auto& t : waiting)
        t.join();
    CHECK(wrong == 0);
    CHECK(to_uint(to->persisted()) == threads * each);
    CHECK(medium.syncs < threads * each / 2);
}

}  // namespace
