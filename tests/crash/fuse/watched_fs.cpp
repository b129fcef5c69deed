#include "tests/crash/fuse/watched_fs.hpp"

#include "tests/crash/fuse/memory_files.hpp"
#include "tests/support/require.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

namespace pmemstream::test {

namespace {
[[noreturn]] void fail(const char* step) {
    throw std::system_error(errno, std::generic_category(), step);
}

void tell(int log, std::uint64_t number, long offset, const char* step) {
    if (::pwrite(log, &number, sizeof number, offset) != static_cast<ssize_t>(sizeof number))
        fail(step);
}
}  // namespace

watched_fs::watched_fs(std::filesystem::path directory) : path_(std::move(directory)) {
    std::filesystem::create_directory(path_);
    record_pipe mounted;
    server_ = std::make_unique<child>([&] {
        mounted.keep_write_end();
        return serve_memory_files(path_.c_str(), mounted);
    });
    mounted.keep_read_end();
    require(mounted.read().has_value(),
            "{}: no FUSE file system can be mounted; /dev/fuse must be there, readable and writable", path_.string());
    log_ = base::unique_fd(::open((path_ / ".log").c_str(), O_RDWR | O_CLOEXEC));
    if (!log_)
        fail("opening the log of a FUSE file system");
}

watched_fs::~watched_fs() {
    log_ = {};
    // Who still has a file open, or mapped, keeps the mount's inside alive, and is served until the process ends.
    ::umount2(path_.c_str(), MNT_DETACH);
    server_.reset();
}

void watched_fs::mark(std::uint64_t number) {
    tell(log_.get(), number, 0, "marking the log of a FUSE file system");
}

void watched_fs::refuse_writes(int error, std::uint32_t below) {
    tell(log_.get(), std::uint64_t{below} << 32 | static_cast<std::uint32_t>(error), refusal_offset,
         "making a FUSE file system refuse what is written");
}

std::vector<std::byte> watched_fs::log(std::uint64_t& from) const {
    constexpr std::size_t piece_bytes = 64 << 10;
    std::vector<std::byte> all;
    for (;;) {
        const auto have = all.size();
        all.resize(have + piece_bytes);
        const auto got = ::pread(log_.get(), all.data() + have, piece_bytes, static_cast<off_t>(from));
        if (got < 0)
            fail("reading the log of a FUSE file system");
        all.resize(have + static_cast<std::size_t>(got));
        from += static_cast<std::uint64_t>(got);
        if (static_cast<std::size_t>(got) < piece_bytes)
            return all;
    }
}

void watched_fs::forget() {
    if (::ftruncate(log_.get(), 0) != 0)
        fail("emptying the log of a FUSE file system");
}

void watched_fs::kill_server() {
    server_->kill(SIGKILL);
    server_->wait();
}

}  // namespace pmemstream::test
