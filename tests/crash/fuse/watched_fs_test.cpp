// What the page-level crash states rest on: the log is what happened, and a server that goes takes nobody with it.
#include "tests/crash/fuse/watched_fs.hpp"
#include "tests/crash/fuse/private_mounts.hpp"
#include "tests/support/child.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/require.hpp"
#include "tests/support/temp_dir.hpp"

#include <pmemstream/fault_guard.hpp>
#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

/// In a process of its own, whose mounts end with it.
child_exit on_watched_fs(const std::function<void(watched_fs&)>& body) {
    return child([&] {
               take_private_mounts();
               const temp_dir dir("/dev/shm");
               watched_fs fs(dir / "mounted");
               body(fs);
               return 0;
           })
        .wait();
}

/// The log, with one letter for each event and the page of each write.
std::string story(const watched_fs& fs, std::byte expected_in_writes) {
    std::uint64_t from = 0;
    const auto log = fs.log(from);
    std::string told;
    for (std::size_t at = 0; at < log.size();) {
        fs_event event;
        std::memcpy(&event, log.data() + at, sizeof event);
        at += sizeof event;
        switch (event.what) {
            case fs_event::kind::write:
                told += "W" + std::to_string(event.offset / 4096);
                require(event.bytes == 4096 && log[at + 8] == expected_in_writes, "not what was stored");
                break;
            case fs_event::kind::sync_begins:
                told += "(";
                break;
            case fs_event::kind::sync_done:
                told += ")";
                break;
            case fs_event::kind::mark:
                told += "m" + std::to_string(event.offset);
                break;
        }
        told += " ";
        at += event.bytes;
    }
    return told;
}

TEST_CASE("stores show in the log when their page is written back, syncs behind them, and marks where they were made") {
    const auto end = on_watched_fs([](watched_fs& fs) {
        constexpr std::size_t bytes = 4 * 4096;
        const base::unique_fd fd(::open((fs.path() / "file").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        require(fd && ::posix_fallocate(fd.get(), 0, bytes) == 0, "no file");
        auto* const memory =
            static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
        require(memory != MAP_FAILED, "no mapping");
        fs.forget();
        fs.mark(1);
        memory[4096 + 8] = std::byte{7};
        fs.mark(2);
        require(::msync(memory + 4096, 4096, MS_SYNC) == 0, "msync");
        fs.mark(3);
        memory[2 * 4096 + 8] = std::byte{7};
        require(::sync_file_range(fd.get(), 0, bytes, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0,
                "sync_file_range");
        fs.mark(4);
        memory[3 * 4096 + 8] = std::byte{7};
        require(::fdatasync(fd.get()) == 0, "fdatasync");
        const auto told = story(fs, std::byte{7});
        require(told == "m1 m2 W1 ( ) m3 W2 m4 W3 ( ) ", "it went like this: {}", told);
    });
    CHECK_FALSE(end.signalled);
    CHECK(end.code == 0);
}

TEST_CASE("a stream whose file system dies under it answers io, and nobody hangs") {
    const auto end = on_watched_fs([](watched_fs& fs) {
        must(install_fault_guard());
        const auto file = fs.path() / "stream";
        must(create(file, {.stream_bytes = 1 << 20}));
        const auto stream = must(writer::open(file, {.control_mode = {}, .without_control = true}));
        const auto region = must(stream->allocate(1 << 18, "a"));
        constexpr std::array<std::byte, 3000> payload{};
        const auto persisted = must(stream->append(region, payload, horizon::persisted));
        must(stream->append(region, payload));
        fs.kill_server();
        const auto refused = code_of(stream->persist());
        require(refused == "io", "persisting gives {}", refused);
        require(stream->persisted() == persisted, "what was persisted before is {}", to_uint(stream->persisted()));
        const auto opened = code_of(reader::open(file));
        require(opened == "io", "opening gives {}", opened);
    });
    CHECK_FALSE(end.signalled);
    CHECK(end.code == 0);
}

}  // namespace
