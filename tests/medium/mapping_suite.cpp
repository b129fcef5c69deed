// What the library asks of a mapping, whatever the medium.
#include "src/medium/seam.hpp"
#include "tests/medium/place.hpp"
#include "tests/support/child.hpp"
#include "tests/support/expect.hpp"

#include <pmemstream/fault_guard.hpp>
#include <pmemstream/stream.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using medium::byte_range;
using medium::elsewhere;
using medium::mapping;

constexpr std::uint64_t page = 4096;

struct mapped_room {
    room in;
    int fd = in.open_zeros();
    std::unique_ptr<mapping> medium;

    explicit mapped_room(medium::access mode = medium::access::write)
        : medium(must(mapping::map(fd, room::bytes, mode, in.path().string(), place::chosen().sync_by))) {}
    ~mapped_room() {
        medium.reset();
        ::close(fd);
    }
    mapped_room(const mapped_room&) = delete;
    mapped_room& operator=(const mapped_room&) = delete;

    void store(std::uint64_t offset, const std::string& text) const {
        std::memcpy(medium->data() + offset, text.data(), text.size());
    }
    /// Through the system, beside the mapping.
    [[nodiscard]] std::string read(std::uint64_t offset, std::size_t bytes) const {
        std::string text(bytes, '\0');
        REQUIRE(::pread(fd, text.data(), bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes));
        return text;
    }
    [[nodiscard]] std::uint64_t dirty() const { return dirty_bytes(medium->data(), room::bytes); }
    /// Whether the system keeps account of what it has not written yet.
    [[nodiscard]] bool counts_dirty_pages() const {
        store(0, "x");
        const bool counted = dirty() != 0;
        must(medium->persist(0, 1));
        return counted && dirty() == 0;
    }
};

/// What the file had before and what the kernel's own writing would make of it, is no proof; the backing of a loop device
/// is behind the cache that is synced.
std::string on_the_medium(std::uint64_t offset, std::size_t bytes) {
    std::string text(bytes, '\0');
    const int fd = ::open(place::chosen().loop_backing.c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(::pread(fd, text.data(), bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes));
    ::close(fd);
    return text;
}

TEST_CASE("mapping and file are one, to the last byte") {
    const mapped_room at;
    at.store(0, "first");
    at.store(room::bytes - 4, "last");
    CHECK(at.read(0, 5) == "first");
    CHECK(at.read(room::bytes - 4, 4) == "last");
    REQUIRE(::pwrite(at.fd, "again", 5, 8192) == 5);
    CHECK(std::memcmp(at.medium->data() + 8192, "again", 5) == 0);
    CHECK(at.medium->bytes() == room::bytes);

    const auto shown = must(mapping::map(at.fd, room::bytes, medium::access::read, "a reader's"));
    at.store(4096, "seen");
    CHECK(std::memcmp(shown->data() + 4096, "seen", 4) == 0);
}

TEST_CASE("what it makes durable at once, and how, is what was expected of it") {
    const mapped_room at;
    const auto& chosen = place::chosen();
    const auto found = at.medium->granularity();
    MESSAGE("granularity: " << to_string(found));
    if (chosen.expected)
        CHECK(found == *chosen.expected);
    CHECK(at.medium->granularity_forced() == chosen.expected_forced);
    CHECK(at.medium->flushes() == (found != granularity::page));
    if (at.medium->flushes()) {
        CHECK_FALSE(at.medium->synced_by().has_value());
    } else if (chosen.sync_by != page_sync::automatic) {
        CHECK(at.medium->synced_by() == chosen.sync_by);
    } else {
        CHECK(at.medium->synced_by() != page_sync::io_uring);
    }
}

TEST_CASE("what was persisted has left the cache, one range or many, large or small") {
    const mapped_room at;
    const bool counts = at.counts_dirty_pages();
    MESSAGE("dirty pages are counted here: " << counts);
    std::vector<byte_range> all;
    for (std::uint64_t i = 0; i < 40; ++i)  // more than are synced at once
        all.push_back({i * 10 * page + i * 8, 8 + i % 3 * page});
    std::uint64_t round = 0;
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{16}, std::size_t{17}, all.size()}) {
        for (const auto rest : {elsewhere::clean, elsewhere::dirty}) {
            CAPTURE(count);
            const std::string text = "round" + std::to_string(++round);
            for (std::size_t i = 0; i < count; ++i)
                at.store(all[i].offset, text);
            const std::span<const byte_range> ranges(all.data(), count);
            must(count == 1 ? at.medium->persist(all[0].offset, all[0].bytes) : at.medium->persist(ranges, rest));
            if (counts)
                CHECK(at.dirty() == 0);
            for (std::size_t i = 0; i < count; ++i) {
                CHECK(at.read(all[i].offset, text.size()) == text);
                if (!place::chosen().loop_backing.empty())
                    CHECK(on_the_medium(all[i].offset, text.size()) == text);
            }
        }
    }
    must(at.medium->persist(0, 0));
    must(at.medium->persist(std::span<const byte_range>(), elsewhere::clean));
    at.store(room::bytes - 8, "the end!");
    must(at.medium->persist(0, room::bytes));
    if (counts)
        CHECK(at.dirty() == 0);
}

TEST_CASE("ranges that are synced through io_uring do not wait for the rest of the file") {
    const mapped_room at;
    if (at.medium->flushes() || at.medium->synced_by() == page_sync::system_calls || !at.counts_dirty_pages())
        return;
    for (std::uint64_t offset = 8 * page; offset < room::bytes; offset += page)
        at.store(offset, "nobody waits for this");
    at.store(0, "a");
    at.store(4 * page, "b");
    const byte_range ranges[] = {{0, 1}, {4 * page, 1}};
    must(at.medium->persist(ranges, elsewhere::dirty));
    // The kernel may have written some of it by itself, in that moment.
    CHECK(at.dirty() > room::bytes / 2);
    must(at.medium->persist(0, room::bytes));
    CHECK(at.dirty() == 0);
}

TEST_CASE("several threads sync at the same time") {
    const mapped_room at;
    std::atomic<unsigned> wrong{0};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < 25; ++i) {
                const std::uint64_t offset = (t * 50 + i) * page;
                at.store(offset, "thread");
                const byte_range ranges[] = {{offset, 6}, {offset + 2048 * page, 6}};
                const auto done = i % 2 == 0
                                      ? at.medium->persist(offset, 6)
                                      : at.medium->persist(ranges, t % 2 == 0 ? elsewhere::dirty : elsewhere::clean);
                wrong += done && at.read(offset, 6) == "thread" ? 0 : 1;
            }
        });
    for (auto& thread : threads)
        thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("single stores are flushed and drained, where the medium can do that") {
    const mapped_room at;
    if (!at.medium->flushes())
        return;
    struct counting : medium::observer {
        unsigned flushes = 0, drains = 0, syncs = 0;
        void flush(const mapping&, std::uint64_t, std::uint64_t) override { ++flushes; }
        void drain(const mapping&) override { ++drains; }
        int sync(const mapping&, std::span<const byte_range>) override { return ++syncs, 0; }
    } seen;
    medium::observing = &seen;
    const byte_range ranges[] = {{3, 100}, {page - 1, 2}, {room::bytes - 1, 1}};
    must(at.medium->persist(ranges, elsewhere::dirty));
    medium::observing = nullptr;
    CHECK(seen.flushes == 3);
    CHECK(seen.drains == 1);
    CHECK(seen.syncs == 0);
}

TEST_CASE("what a medium refuses is told with errno, file and offset") {
    const mapped_room at;
    if (at.medium->flushes())
        return;
    struct refusing : medium::observer {
        int why = 0;
        int sync(const mapping&, std::span<const byte_range>) override { return why; }
    } medium;
    medium::observing = &medium;
    const byte_range ranges[] = {{8192, 10}, {page * 20, 1}};
    for (const int why : {EIO, ENOSPC}) {
        medium.why = why;
        const auto one = at.medium->persist(8192, 10);
        const auto two = at.medium->persist(ranges, elsewhere::dirty);
        for (const auto& failed : {one, two}) {
            CHECK(code_of(failed) == (why == EIO ? "io" : "no_space"));
            CHECK(failed.error().system_error() == why);
            CHECK(message_of(failed).find(at.in.path().string()) != std::string::npos);
            CHECK(message_of(failed).find("8192") != std::string::npos);
        }
    }
    medium::observing = nullptr;
}

TEST_CASE("a refusal that one of two threads is told, the other hears of before its sync succeeds") {
    const mapped_room at;
    if (at.medium->flushes())
        return;
    struct refusing_one : medium::observer {
        std::thread::id whom = std::this_thread::get_id();
        std::atomic<bool> asked{false}, other_done{false};
        int sync(const mapping&, std::span<const byte_range>) override {
            if (std::this_thread::get_id() != whom)
                return 0;
            asked = true;
            // Long enough for the other to come back, if it comes back too early.
            for (int i = 0; i < 200 && !other_done; ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            return EIO;
        }
    } medium;
    medium::observing = &medium;
    result<void> other;
    std::thread beside([&] {
        while (!medium.asked)
            std::this_thread::yield();
        other = at.medium->persist(page, 1);
        medium.other_done = true;
    });
    const auto told = at.medium->persist(8192, 10);
    beside.join();
    medium::observing = nullptr;
    CHECK(code_of(told) == "io");
    CHECK(code_of(other) == "io");
    CHECK(code_of(at.medium->persist(0, 1)) == "io");
}

TEST_CASE("space that was set aside and not written is known, if it is told, and written once touched and synced") {
    const mapped_room at;
    const auto before = at.medium->unwritten(page, 100 * page);
    MESSAGE("stretches of unwritten space: " << before.size());
    std::uint64_t end = page;
    for (const auto& range : before) {
        CHECK(range.offset >= end);
        CHECK(range.bytes > 0);
        end = range.offset + range.bytes;
        CHECK(end <= 101 * page);
    }
    at.medium->touch(page, 100 * page);
    must(at.medium->persist(page, 100 * page));
    CHECK(at.medium->unwritten(page, 100 * page).empty());
    CHECK(at.read(page, 100 * page) == std::string(100 * page, '\0'));
}

TEST_CASE("touching makes pages dirty and changes nothing, not even what another thread stores meanwhile") {
    const mapped_room at;
    const bool counts = at.counts_dirty_pages();
    at.medium->touch(page + 8, 10 * page);
    if (counts)
        CHECK(at.dirty() >= 10 * page);
    std::atomic<bool> stop{false};
    std::thread touching([&] {
        while (!stop)
            at.medium->touch(0, 4 * page);
    });
    auto* const word = reinterpret_cast<std::uint64_t*>(at.medium->data() + page);
    std::uint64_t wrong = 0;
    for (std::uint64_t i = 1; i <= 1'000'000; ++i) {
        __atomic_store_n(word, i, __ATOMIC_RELAXED);
        wrong += __atomic_load_n(word, __ATOMIC_RELAXED) != i ? 1 : 0;
    }
    stop = true;
    touching.join();
    CHECK(wrong == 0);
    CHECK(*word == 1'000'000);
}

TEST_CASE("behind a lost end of the file a fault becomes a word, and zeros, with the fault guard") {
    must(install_fault_guard());
    const mapped_room at;
    std::unique_ptr<mapping> longer;
    const mapping* lost = at.medium.get();
    std::uint64_t offset = room::bytes - page;
    if (place::chosen().is_device) {
        // A device cannot be truncated; a mapping can be too long for it.
        const auto device_bytes = static_cast<std::uint64_t>(::lseek(at.fd, 0, SEEK_END));
        longer = must(mapping::map(at.fd, device_bytes + page, medium::access::write, "too long"));
        lost = longer.get();
        offset = device_bytes;
    } else {
        at.store(offset, "gone");
        REQUIRE(::ftruncate(at.fd, static_cast<off_t>(room::bytes / 2)) == 0);
    }
    CHECK_FALSE(lost->has_faulted());
    CHECK(*static_cast<const volatile char*>(static_cast<const void*>(lost->data() + offset)) == 0);
    CHECK(lost->has_faulted());
}

TEST_CASE("a forked child has neither the mapping nor a ring to sync it") {
    const mapped_room at;
    at.store(0, "x");
    must(at.medium->persist(0, 1));
    child reading([&] {
        ::signal(SIGSEGV, SIG_DFL);  // not the test framework's report
        return static_cast<int>(at.medium->data()[0]);
    });
    const auto end = reading.wait();
    CHECK(end.signalled);
    CHECK(end.code == SIGSEGV);
    const auto rings = [] {
        int count = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code ignored;
            count += std::filesystem::read_symlink(entry.path(), ignored) == "anon_inode:[io_uring]" ? 1 : 0;
        }
        return count;
    };
    const bool has_ring = at.medium->synced_by() && at.medium->synced_by() != page_sync::system_calls;
    CHECK(rings() == (has_ring ? 1 : 0));
    child looking([&] { return rings(); });
    CHECK(looking.wait().code == 0);
    at.store(0, "y");
    must(at.medium->persist(0, 1));
}

}  // namespace
