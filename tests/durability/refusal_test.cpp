// What must not pass for persisted, although everything seems to go on.
#include "tests/durability/watched_medium.hpp"
#include "tests/support/child.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/forced_cache_lines.hpp"
#include "tests/support/small_stream.hpp"

#include <pmemstream/fault_guard.hpp>

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

writer_options durable() {
    writer_options options;
    options.without_control = true;
    options.returns_at = horizon::persisted;
    return options;
}

/// As the kernel does: an error is told once, and the next sync succeeds.
struct refusing_once : medium::observer {
    std::atomic<int> next{0};
    refusing_once() { medium::observing = this; }
    ~refusing_once() override { medium::observing = nullptr; }
    int sync(const medium::mapping&, std::span<const medium::mapping::range>) override { return next.exchange(0); }
};

TEST_CASE("what an abandoned reservation held up is persisted with it, and no sequence covers what is not") {
    const forced_cache_lines forced;
    small_stream stream;
    watched_medium medium(stream.file);
    const auto to = must(writer::open(stream.file, durable()));
    const region a = must(to->allocate(4000, "r")), b = must(to->allocate(4000, "s"));
    auto first = must(to->reserve(a, 8)), second = must(to->reserve(a, 8));
    std::memcpy(second.payload().data(), "entry--1", 8);
    must(to->publish(std::move(second)));  // held up
    CHECK(to_uint(to->committed()) == 0);
    must(to->abandon(std::move(first)));
    CHECK(to_uint(to->committed()) == 1);
    CHECK(to_uint(to->persisted()) == 1);
    auto third = must(to->reserve(b, 8)), fourth = must(to->reserve(b, 8));
    must(to->publish(std::move(fourth)));  // commits nothing
    const auto left = stream.dir / "left";
    medium.lose_power(left);
    const auto after = must(writer::open(left, durable()));
    CHECK(texts_in(must(reader::open(left, {.without_control = true})), must(after->find("r"))) ==
          std::vector<std::string>{"entry--1"});
    must(to->abandon(std::move(third)));
}

TEST_CASE("an entry that another region's durable append did not flush is not covered by the stream's sequence") {
    const forced_cache_lines forced;
    small_stream stream;
    const auto to = stream.write();
    const region a = must(to->allocate(4000)), b = must(to->allocate(4000));
    must(to->append(b, bytes_of("1"), horizon::persisted));
    must(to->append(a, bytes_of("2")));
    auto open = must(to->reserve(b, 8)), ready = must(to->reserve(b, 8));
    must(to->publish(std::move(ready)));
    must(to->abandon(std::move(open)));  // 3, in b
    CHECK(to_uint(to->persisted()) == 1);
    must(to->append(b, bytes_of("4"), horizon::persisted));
    CHECK(to_uint(to->persisted()) == 1);  // 2 is not
    must(to->append(a, bytes_of("5"), horizon::persisted));
    CHECK(to_uint(to->persisted()) == 5);
}

TEST_CASE("an error that the region table meets is told to those who wait for entries, too") {
    small_stream stream;
    refusing_once medium;
    const auto to = stream.write();
    const auto slots = to->info().region_slots;
    const region first = must(to->allocate(1000));
    for (unsigned i = 1; i < slots; ++i)
        (void)must(to->allocate(1000));
    must(to->append(first, bytes_of("x")));
    medium.next = EIO;
    CHECK(code_of(to->allocate(1000)) == "io");
    CHECK(code_of(to->wait_persisted(sequence{1})) == "io");
}

TEST_CASE("no region is allocated once the medium has refused, because it would not be durable") {
    small_stream stream;
    refusing_once medium;
    const auto to = stream.write();
    const region where = must(to->allocate(1000));
    must(to->append(where, bytes_of("x")));
    medium.next = EIO;
    CHECK(code_of(to->persist()) == "io");
    CHECK(code_of(to->allocate(1000)) == "io");
    CHECK(code_of(to->free(where)) == "io");
    CHECK(code_of(to->clear(where)) == "io");
    CHECK(to_uint(must(to->append(where, bytes_of("y")))) == 2);
}

TEST_CASE("a page that is lost while a round syncs is not persisted, and a close that fails gives up the lock") {
    REQUIRE(install_fault_guard().has_value());
    small_stream stream;
    struct truncating : medium::observer {
        std::filesystem::path file;
        bool armed = false;
        int sync(const medium::mapping& of, std::span<const medium::mapping::range> ranges) override {
            if (std::exchange(armed, false)) {
                std::filesystem::resize_file(file, 8192);
                const volatile std::byte* lost = of.data() + ranges.front().offset;
                (void)*lost;
            }
            return 0;
        }
    } medium;
    medium.file = stream.file;
    medium::observing = &medium;
    const auto to = stream.write();
    (void)must(to->allocate(20'000));
    const region where = must(to->allocate(20'000));
    must(to->append(where, bytes_of("x")));
    medium.armed = true;
    CHECK(code_of(to->wait_persisted(sequence{1})) == "io");
    CHECK(code_of(to->close()) == "io");
    medium::observing = nullptr;
    std::filesystem::resize_file(stream.file, 1 << 20);
    CHECK(code_of(writer::open(stream.file, {.without_control = true})) != "writer_busy");
}

/// Entry "1" in region "r", of a writer that dies.
void leave_one_entry(const small_stream& stream) {
    child dying([&]() -> int {
        const auto to = stream.write();
        must(to->append(must(to->allocate(1000, "r")), bytes_of("1")));
        ::_exit(0);
    });
    CHECK(dying.wait().code == 0);
}

TEST_CASE("what is synced after a refusal, and the file system knows nothing of, is persisted by nobody") {
    const char* expected = nullptr;
    int answer = 0;
    SUBCASE("it says so") {
        expected = "Salvage";
    }
    SUBCASE("it cannot be asked") {
        expected = "asking whether";
        answer = EIO;
    }
    CAPTURE(answer);
    const small_stream stream;
    leave_one_entry(stream);
    struct forgetful : medium::observer {
        bool forgets = true;
        int answer;
        explicit forgetful(int error) : answer(error) { medium::observing = this; }
        ~forgetful() override { medium::observing = nullptr; }
        bool unwritten(const medium::mapping&, std::uint64_t offset) override { return forgets && offset != 0; }
        int extents(const medium::mapping&, std::uint64_t offset) override {
            return forgets && offset != 0 ? answer : 0;
        }
    } medium(answer);
    {
        // An opening persists nothing of what it takes over from a dead process.
        const auto to = stream.write();
        must(to->append(must(to->find("r")), bytes_of("2")));
        const auto refused = to->wait_persisted(sequence{2});
        CHECK(code_of(refused) == "io");
        CHECK(message_of(refused).find(expected) != std::string::npos);
        CHECK(to->persisted() == sequence::none);
        CHECK(code_of(to->close()) == "io");
    }
    // Now it is known, and an opening has to make everything durable that it finds.
    for (int again = 0; again < 2; ++again)
        CHECK(code_of(writer::open(stream.file, {.without_control = true})) == "io");
    CHECK(texts_in(stream.read(), must(stream.read().find("r"))) == std::vector<std::string>{"1", "2"});
    medium.forgets = false;
    const auto to = stream.write();
    CHECK(to->persisted() == sequence{2});
    CHECK(texts_in(stream.read(), must(stream.read().find("r"))) == std::vector<std::string>{"1", "2"});
}

TEST_CASE("a file system that nobody may ask is believed") {
    for (const int answer : {EOPNOTSUPP, ENOTTY, ENOSYS, EPERM, EACCES}) {
        CAPTURE(answer);
        small_stream stream;
        leave_one_entry(stream);
        struct silent : medium::observer {
            int answer;
            unsigned asked = 0;
            explicit silent(int error) : answer(error) { medium::observing = this; }
            ~silent() override { medium::observing = nullptr; }
            int extents(const medium::mapping&, std::uint64_t) override { return ++asked, answer; }
        } medium(answer);
        const auto to = stream.write();
        CHECK(medium.asked > 0);
        must(to->persist());
        CHECK(to->persisted() == sequence{1});
    }
}

TEST_CASE("a merged cursor is rung for when the newest entries became persisted by being freed") {
    const forced_cache_lines forced;
    small_stream stream;
    const auto to = must(writer::open(stream.file));
    const auto from = must(reader::open(stream.file));
    const region a = must(to->allocate(1000, "a")), b = must(to->allocate(1000, "b"));
    auto all = must(from.follow_all(
        {.horizon = horizon::persisted, .spin = std::chrono::nanoseconds(0), .sleep_max = sleep_for_ever}));
    std::atomic<bool> got{false};
    std::thread waiting([&] {
        // That a region was freed is told once, and then the others' entries.
        auto shown = all.wait();
        if (!shown && shown.error().code() == errc::region_gone)
            shown = all.wait();
        got = shown && *shown && text_of((*shown)->payload()) == "2";
    });
    must(to->append(a, bytes_of("1")));
    must(to->append(b, bytes_of("2"), horizon::persisted));
    const auto asleep = [&] {
        const auto readers = must(from.registered());
        return !readers.empty() && readers.front().asleep;
    };
    CHECK(eventually(asleep));
    must(to->free(a, true));
    must(to->persist());
    CHECK(eventually([&] { return got.load(); }));
    waiting.join();
}

TEST_CASE("a policy of for ever costs nothing, and a wait of less than nothing is one of nothing") {
    small_stream stream;
    writer_options options;
    options.without_control = true;
    SUBCASE("by time") {
        options.policy.every = std::chrono::milliseconds::max();
    }
    SUBCASE("by both") {
        options.policy = {std::chrono::milliseconds(std::int64_t{1} << 32), 1 << 20};
    }
    const auto to = must(writer::open(stream.file, options));
    const region where = must(to->allocate(1000));
    must(to->append(where, {}));
    // Its thread sleeps: the process' CPU time stands still while this one sleeps as well.
    const auto cpu = [] {
        timespec used{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        return used.tv_sec * 1'000'000'000 + used.tv_nsec;
    };
    const auto before = cpu();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    CHECK(cpu() - before < 150'000'000);
    CHECK(code_of(to->wait_persisted(sequence{1}, std::chrono::nanoseconds::min())) == "ok");
}

}  // namespace
