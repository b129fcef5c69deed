// Streams on a block device without a file system.
#include "tests/medium/loop_device.hpp"
#include "tests/support/child.hpp"
#include "tests/support/small_stream.hpp"

#include "src/format/layout.hpp"
#include "src/medium/seam.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
namespace fs = std::filesystem;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// Its bytes are on a disk, if /var/tmp is.
struct device_with_place {
    temp_dir dir{"/var/tmp"};
    fs::path backing = dir / "backing";
    loop_device device;
    const fs::path& file = device.path();

    explicit device_with_place(std::uint64_t bytes = 16 * mib) : device(backing, bytes) {}

    [[nodiscard]] std::unique_ptr<writer> write() const { return must(writer::open(file, {.without_control = true})); }
    [[nodiscard]] reader read() const { return must(reader::open(file, {.without_control = true})); }

    void put(std::uint64_t offset, const void* bytes, std::size_t count) const {
        const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
        REQUIRE(::pwrite(fd, bytes, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count));
        REQUIRE(::fsync(fd) == 0);
        ::close(fd);
    }
    [[nodiscard]] std::vector<std::byte> get(std::uint64_t offset, std::size_t count) const {
        std::vector<std::byte> bytes(count);
        const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
        REQUIRE(::pread(fd, bytes.data(), count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count));
        ::close(fd);
        return bytes;
    }
};

TEST_CASE("a stream takes a blank device whole, rounded down, or as much of it as was asked for") {
    const device_with_place odd(8 * mib + 512 * 5);
    must(create(odd.file));
    CHECK(odd.read().info().stream_bytes == 8 * mib);
    CHECK(odd.read().info().granularity == granularity::page);

    const device_with_place part;
    must(create(part.file, {.stream_bytes = 4 * mib, .block_bytes = 64}));
    CHECK(part.read().info().stream_bytes == 4 * mib);

    const device_with_place small(64 * 1024);
    CHECK(code_of(create(small.file, {.stream_bytes = mib})) == "no_space");
    CHECK(code_of(create(small.file, {.block_bytes = 65536})) == "too_small");
    CHECK(code_of(create(small.file, {.file_mode = 0600})) == "invalid_argument");
    must(create(small.file));
    CHECK(small.read().info().stream_bytes == 64 * 1024);
}

TEST_CASE("what a writer persisted on a device, its readers see and a later writer finds; a link to the node will do") {
    const device_with_place on;
    must(create(on.file));
    const auto link = on.dir / "link";
    fs::create_symlink(on.file, link);
    region where;
    {
        const auto to = must(writer::open(link));
        where = must(to->allocate(mib, "r"));
        const auto from = must(reader::open(on.file));
        CHECK(from.writer().alive);
        CHECK(from.control() == control_state::attached);
        must(to->append(where, bytes_of("a"), horizon::persisted));
        CHECK(texts_in(from, where, {.horizon = horizon::persisted}) == texts{"a"});
        must(to->append(where, bytes_of("b")));
        CHECK(texts_in(from, where) == texts{"a", "b"});
        CHECK(to->persisted() == sequence{1});
        must(to->close());
    }
    const auto to = on.write();
    CHECK(to->recovery().found == recovery_report::state::clean);
    CHECK(texts_in(on.read(), where) == texts{"a", "b"});
}

TEST_CASE("a device that is mounted, or that a stream is made or written on, is neither created on nor written to") {
    const device_with_place on;
    must(create(on.file));
    {
        const int mine = ::open(on.file.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);  // as a mounted file system has it
        REQUIRE(mine >= 0);
        CHECK(code_of(create(on.file, {.overwrite_device = true})) == "device_busy");
        CHECK(code_of(writer::open(on.file)) == "device_busy");
        CHECK(reader::open(on.file).has_value());
        ::close(mine);
    }
    const auto to = on.write();
    CHECK(code_of(create(on.file, {.overwrite_device = true})) == "device_busy");
    CHECK(code_of(writer::open(on.file)) == "writer_busy");
    SUBCASE("under another name, of which the lock knows nothing") {
        struct stat st {};
        REQUIRE(::stat(on.file.c_str(), &st) == 0);
        const auto node = on.dir / "node";
        REQUIRE(::mknod(node.c_str(), S_IFBLK | 0600, st.st_rdev) == 0);
        CHECK(code_of(writer::open(node)) == "device_busy");
        CHECK(code_of(create(node, {.overwrite_device = true})) == "device_busy");
        // The stream is the same, not a copy of it.
        must(to->append(must(to->allocate(mib, "r")), bytes_of("a")));
        must(to->close());
        CHECK(must(writer::open(node))->recovery().found == recovery_report::state::clean);
    }
}

TEST_CASE("a device that holds anything where it would be looked for is not overwritten unless told to") {
    const device_with_place on;
    const std::uint64_t bytes = 16 * mib;
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{1080}, mib - 1, bytes - mib, bytes - 1}) {
        CAPTURE(at);
        on.put(at, "x", 1);
        const auto refused = create(on.file);
        CHECK(code_of(refused) == "already_exists");
        CHECK(message_of(refused).find("offset " + std::to_string(at) + ",") != std::string::npos);
        CHECK(on.get(at, 1)[0] == std::byte{'x'});
        on.put(at, "", 1);
    }
    on.put(1080, "x", 1);
    on.put(bytes - 1, "x", 1);
    must(create(on.file, {.overwrite_device = true}));
    CHECK(on.get(bytes - 1, 1)[0] == std::byte{0});
    CHECK(on.read().info().regions == 0);
    CHECK(code_of(create(on.file)) == "already_exists");  // a stream is something
}

TEST_CASE("of an earlier stream on the device nothing comes back, wherever the new one's entries come to lie") {
    const device_with_place on;
    uuid before{};
    must(create(on.file, {.block_bytes = 64}));
    {
        // Entries of many lengths, whose ends the new stream's entries will meet.
        const auto to = on.write();
        before = to->info().uuid;
        for (int r = 0; r < 40; ++r) {  // the region table grows
            const region where = must(to->allocate(200'000, "old" + std::to_string(r)));
            for (std::uint64_t i = 0; i < 300; ++i)
                must(to->append(where, numbered_payload(1, i, i % 200)));
        }
    }
    must(create(on.file, {.block_bytes = 64, .overwrite_device = true}));
    {
        child writing([&] {
            const auto to = on.write();
            const region where = must(to->allocate(2'000'000, "new"));
            for (std::uint64_t i = 0; i < 300; ++i)
                must(to->append(where, numbered_payload(1, i, i % 200)));
            for (int r = 0; r < 30; ++r)
                (void)must(to->allocate(100'000, "more" + std::to_string(r)));
            ::kill(::getpid(), SIGKILL);
            return 1;
        });
        CHECK(writing.wait().signalled);
    }
    // As after a loss of power: whatever follows the persisted offsets is read.
    on.put(format::header_offset + offsetof(format::identity_line, boot_id), "another boot    ", 16);
    const auto to = on.write();
    CHECK(to->info().uuid != before);
    CHECK(to->recovery().found == recovery_report::state::rescanned);
    CHECK(to->recovery().entries_recovered == 300);
    CHECK(to->recovery().regions_cut_before_whole_entries == 0);
    CHECK(to->regions()->size() == 31);
    CHECK(all_texts(on.read()).size() == 300);
    must(to->append(must(to->find("new")), bytes_of("x"), horizon::persisted));
    CHECK(all_texts(on.read()).back() == "x");
}

TEST_CASE("a creation that is killed at any of its flushes leaves no stream, or all of it") {
    const device_with_place on;
    struct killer : medium::observer {
        unsigned left = 0;
        int sync(const medium::mapping&, std::span<const medium::mapping::range>) override {
            if (left-- == 0)
                ::raise(SIGKILL);
            return 0;
        }
    };
    must(create(on.file, {.stream_bytes = 4 * mib}));
    unsigned killed = 0;
    for (unsigned at = 0;; ++at) {
        CAPTURE(at);
        child creating([&] {
            killer medium;
            medium.left = at;
            medium::observing = &medium;
            return create(on.file, {.overwrite_device = true}) ? 0 : 1;
        });
        const auto end = creating.wait();
        const auto seen = reader::open(on.file, {.without_control = true});
        if (!end.signalled) {
            CHECK(end.code == 0);
            CHECK(must(writer::open(on.file, {.without_control = true}))->info().stream_bytes == 16 * mib);
            break;
        }
        ++killed;
        if (seen)
            CHECK(seen->info().stream_bytes == 16 * mib);  // not the earlier one
        else
            CHECK(code_of(seen) == "not_a_stream");
    }
    CHECK(killed == 2);
}

TEST_CASE("a writer that is killed loses nothing that was committed, and the next one gets in at once") {
    const device_with_place on;
    must(create(on.file));
    record_pipe told;
    child writing([&] {
        told.keep_write_end();
        const auto to = on.write();
        const region where = must(to->allocate(8 * mib, "r"));
        for (std::uint64_t i = 1;; ++i) {
            must(to->append(where, numbered_payload(3, i, i % 300),
                            i % 16 == 0 ? horizon::persisted : horizon::committed));
            told.write(i);
        }
        return 1;
    });
    told.keep_read_end();
    std::uint64_t appended = 0;
    while (appended < 2000)
        appended = told.read().value();
    writing.kill(SIGKILL);
    CHECK(writing.wait().signalled);
    while (const auto more = told.read())
        appended = *more;
    const auto to = on.write();
    CHECK(to->recovery().found == recovery_report::state::process_died);
    const auto found = texts_in(on.read(), must(to->find("r")));
    CHECK(found.size() >= appended);
    CHECK(found.size() <= appended + 1);
}

TEST_CASE("a device that was taken away and given back within one boot is not believed, but read") {
    device_with_place on;
    must(create(on.file));
    {
        child writing([&] {
            const auto to = on.write();
            must(to->append(must(to->allocate(mib, "r")), bytes_of("a")));
            ::kill(::getpid(), SIGKILL);
            return 1;
        });
        CHECK(writing.wait().signalled);
    }
    on.device.replace(on.backing);
    const auto to = on.write();
    CHECK(to->recovery().found == recovery_report::state::rescanned);
    CHECK(to->recovery().entries_recovered == 1);
    CHECK(texts_in(on.read(), must(to->find("r"))) == texts{"a"});
}

TEST_CASE("on a device that became smaller the stream is truncated, and nothing is changed") {
    device_with_place on;
    must(create(on.file));
    { (void)must(on.write()->allocate(mib, "r")); }
    fs::resize_file(on.backing, 8 * mib);
    on.device.replace(on.backing);
    CHECK(code_of(writer::open(on.file)) == "truncated");
    CHECK(code_of(reader::open(on.file)) == "truncated");
    fs::resize_file(on.backing, 16 * mib);
    on.device.replace(on.backing);
    CHECK(on.write()->recovery().found == recovery_report::state::clean);
}

/// The device's blocks run out: it lies in a sparse file on a small file system.
struct device_that_fills {
    temp_dir dir;
    fs::path place = dir / "small";
    std::optional<loop_device> device;

    device_that_fills() {
        fs::create_directory(place);
        REQUIRE(::mount("none", place.c_str(), "tmpfs", 0, "size=3m") == 0);
        device.emplace(place / "backing", 32 * mib);
    }
    void grow() const { REQUIRE(::mount("none", place.c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0); }
    ~device_that_fills() {
        device.reset();
        (void)::umount2(place.c_str(), MNT_DETACH);  // the kernel lets go of the backing file in its own time
    }
    device_that_fills(const device_that_fills&) = delete;
    device_that_fills& operator=(const device_that_fills&) = delete;
};

void refuse_and_recover(page_sync sync_by, bool several_regions) {
    const device_that_fills on;
    const auto file = on.device->path();
    const writer_options how{.sync_by = sync_by, .without_control = true};
    const auto read = [&] { return must(reader::open(file, {.without_control = true})); };
    {
        must(create(file));
        const auto to = must(writer::open(file, how));
        const region where = must(to->allocate(12 * mib, "r"));
        const region other = must(to->allocate(12 * mib, "s"));
        must(to->append(where, bytes_of("safe"), horizon::persisted));
        const std::vector<std::byte> large(8 * mib, std::byte{1});
        must(to->append(where, large));
        if (several_regions)
            must(to->append(other, large));
        const auto newest = to->committed();
        const auto failed = to->persist();
        CHECK(code_of(failed) == "io");
        CHECK(failed.error().system_error() == EIO);
        CHECK(message_of(failed).find(file.string()) != std::string::npos);
        CHECK(to->persisted() == sequence{1});
        CHECK(code_of(to->append(where, bytes_of("later"), horizon::persisted)) == "io");
        CHECK(code_of(to->wait_persisted(newest)) == "io");
        CHECK(must(read().describe(where)).persisted == sequence{1});
        CHECK(code_of(to->close()) == "io");
    }
    on.grow();
    // An opening may be told what the kernel has not told anybody yet; then the next one is not.
    auto again = writer::open(file, how);
    if (!again)
        again = writer::open(file, how);
    const auto to = must(std::move(again));
    CHECK(to->recovery().found == recovery_report::state::rescanned);
    CHECK(to->persisted() == to->committed());
    CHECK(texts_in(read(), must(to->find("r"))).front() == "safe");
}

TEST_CASE("when the device itself refuses, that is io, and sticks until a writer has read what is there") {
    std::vector<page_sync> all{page_sync::automatic, page_sync::system_calls};
    if (medium::sync_ring::built_in)
        all.push_back(page_sync::io_uring);
    for (const auto sync_by : all)
        for (const bool several_regions : {false, true}) {
            CAPTURE(to_string(sync_by));
            CAPTURE(several_regions);
            refuse_and_recover(sync_by, several_regions);
        }
}

}  // namespace
