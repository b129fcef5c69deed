#include "tests/support/child.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"
#include "tests/support/test_numbers.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
namespace fs = std::filesystem;

create_options sized(std::uint64_t stream_bytes, std::uint64_t block_bytes = 4096) {
    create_options options;
    options.stream_bytes = stream_bytes;
    options.block_bytes = block_bytes;
    return options;
}

std::size_t files_in(const fs::path& directory) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

/// What a child exits with when the machine does not let it do what the test needs.
constexpr int cannot = 77;

TEST_CASE("a stream has the blocks and the size that were asked for, and its space for real") {
    const temp_dir dir;
    struct row {
        std::uint64_t asked, block, size, first_block;
    };
    for (const auto& [asked, block, size, first_block] :
         {row{100'000, 64, 100'032, 7936}, row{10'240, 64, 10'240, 7936}, row{102'400, 4096, 102'400, 8192},
          row{200'000, 65536, 262'144, 65536}, row{1 << 20, 1 << 19, 1 << 20, 1 << 19}}) {
        const auto file = dir / (std::to_string(asked) + " in blocks of " + std::to_string(block));
        REQUIRE(code_of(create(file, sized(asked, block))) == "ok");
        CHECK(fs::file_size(file) == (size + 4095) / 4096 * 4096);
        struct stat st {};
        REQUIRE(::stat(file.c_str(), &st) == 0);
        CHECK(static_cast<std::uint64_t>(st.st_blocks) * 512 >= size);
        const auto info = must(reader::open(file)).info();
        CHECK(info.stream_bytes == size);
        CHECK(info.block_bytes == block);
        CHECK(info.free_bytes == size - first_block);
        const auto to = must(writer::open(file));
        const auto region = must(to->describe(must(to->allocate(16))));
        CHECK(to_uint(region.extent) == first_block);
        CHECK(region.extent_bytes == std::max<std::uint64_t>(block, 128));
        CHECK(info.stream_bytes_max == std::uint64_t{1} << 40);
    }
}

TEST_CASE("block sizes that are no power of two from 64 to 1 GiB are refused") {
    const temp_dir dir;
    for (const std::uint64_t block :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{32}, std::uint64_t{63}, std::uint64_t{65},
          std::uint64_t{96}, std::uint64_t{4095}, std::uint64_t{1} << 31, std::numeric_limits<std::uint64_t>::max()}) {
        const auto refused = create(dir / "stream", sized(1 << 20, block));
        CHECK(code_of(refused) == "invalid_argument");
        CHECK(message_of(refused).find((dir / "stream").string()) != std::string::npos);
    }
    CHECK(files_in(dir.path()) == 0);
}

TEST_CASE("a size that holds no block is too_small, one beyond the format too_large") {
    const temp_dir dir;
    CHECK(code_of(create(dir / "a", sized(0))) == "too_small");
    CHECK(code_of(create(dir / "a", sized(8192))) == "too_small");
    CHECK(code_of(create(dir / "a", sized(65536, 65536))) == "too_small");
    CHECK(code_of(create(dir / "a", sized(std::uint64_t{1} << 57))) == "too_large");
    CHECK(code_of(create(dir / "a", sized(std::numeric_limits<std::uint64_t>::max()))) == "too_large");
    CHECK(files_in(dir.path()) == 0);
    CHECK(code_of(create(dir / "a", sized(8193))) == "ok");
    CHECK(fs::file_size(dir / "a") == 12288);
    CHECK(code_of(create(dir / "b", sized(8192, 64))) == "ok");
}

TEST_CASE("the file's mode is exactly the one given, or what the umask leaves of 0666") {
    const temp_dir dir;
    const mode_t before = ::umask(077);
    int name = 0;
    const auto mode_of = [&](std::optional<mode_t> asked) {
        const auto file = dir / std::to_string(name++);
        auto options = sized(1 << 16);
        options.file_mode = asked;
        must(create(file, options));
        struct stat st {};
        REQUIRE(::stat(file.c_str(), &st) == 0);
        return st.st_mode & 07777;
    };
    CHECK(mode_of(0640) == 0640);
    CHECK(mode_of(0666) == 0666);
    CHECK(mode_of(0444) == 0444);
    CHECK(mode_of(0600) == 0600);
    CHECK(mode_of(std::nullopt) == 0600);
    ::umask(022);
    CHECK(mode_of(std::nullopt) == 0644);
    CHECK(mode_of(0660) == 0660);
    ::umask(before);
}

TEST_CASE("nothing that is there already is replaced") {
    const temp_dir dir;
    const auto refuses = [&](const fs::path& file) {
        const auto refused = create(file, sized(1 << 16));
        CHECK(message_of(refused).find(file.string()) != std::string::npos);
        return code_of(refused) == "already_exists";
    };
    must(create(dir / "stream", sized(1 << 16)));
    const auto stream = read_image(dir / "stream");
    CHECK(refuses(dir / "stream"));
    CHECK(read_image(dir / "stream") == stream);
    write_image(dir / "empty", {});
    CHECK(refuses(dir / "empty"));
    CHECK(fs::file_size(dir / "empty") == 0);
    fs::create_directory(dir / "directory");
    CHECK(refuses(dir / "directory"));
    fs::create_symlink(dir / "nowhere", dir / "dangling");
    CHECK(refuses(dir / "dangling"));
    CHECK_FALSE(fs::exists(dir / "nowhere"));
    CHECK(files_in(dir.path()) == 4);
}

TEST_CASE("a directory that is missing, or no directory, is not_found") {
    const temp_dir dir;
    CHECK(code_of(create(dir / "missing" / "stream", sized(1 << 16))) == "not_found");
    write_image(dir / "file", {});
    CHECK(code_of(create(dir / "file" / "stream", sized(1 << 16))) == "not_found");
}

TEST_CASE("two streams have different UUIDs of version 4") {
    const temp_dir dir;
    must(create(dir / "a", sized(1 << 16)));
    must(create(dir / "b", sized(1 << 16)));
    const auto a = must(reader::open(dir / "a")).info().uuid, b = must(reader::open(dir / "b")).info().uuid;
    CHECK(a != b);
    const auto text = to_string(a);
    CHECK(text.size() == 36);
    CHECK(text[14] == '4');
}

// --- creations that fail
// ----------------------------------------------------------------------------------------------

TEST_CASE("a full disk is no_space and leaves nothing behind") {
    const temp_dir dir;
    // A disk of its own, seen by this child only.
    child small_disk([&]() -> int {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", dir.path().c_str(), "tmpfs", 0, "size=256k") != 0)
            return cannot;
        if (code_of(create(dir / "stream", sized(1 << 20))) != "no_space" || files_in(dir.path()) != 0)
            return 1;
        // What fits is created on it.
        return code_of(create(dir / "stream", sized(1 << 17))) == "ok" && files_in(dir.path()) == 1 ? 0 : 2;
    });
    const auto exit = small_disk.wait();
    CHECK_FALSE(exit.signalled);
    if (exit.code == cannot)
        MESSAGE("not root: no disk of its own could be mounted");
    else
        CHECK(exit.code == 0);
    CHECK((exit.code != cannot || ::geteuid() != 0));
}

TEST_CASE("a limit on the size of files is no_space as well") {
    const temp_dir dir;
    child limited([&]() -> int {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{1 << 18, 1 << 18};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0)
            return 3;
        const auto refused = create(dir / "stream", sized(1 << 20));
        if (code_of(refused) != "no_space" || files_in(dir.path()) != 0)
            return 1;
        return code_of(create(dir / "stream", sized(1 << 17))) == "ok" ? 0 : 2;
    });
    CHECK(limited.wait().code == 0);
}

/// Runs `body` in a child under a filter: `call` (with `argument` having all of `bits`) gets `action`.
child_exit under_filter(int call, std::uint32_t action, unsigned argument, std::uint64_t bits,
                        const std::function<int()>& body) {
    child filtered([&]() -> int {
        const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        const scmp_arg_cmp matches{argument, SCMP_CMP_MASKED_EQ, bits, bits};
        if (filter == nullptr || seccomp_rule_add_array(filter, action, call, 1, &matches) != 0 ||
            seccomp_load(filter) != 0)
            return cannot;
        return body();
    });
    return filtered.wait();
}

TEST_CASE("a creation killed at any of its steps leaves nothing that looks like a stream") {
    unsigned killed = 0;
    for (const int step :
         {SCMP_SYS(fallocate), SCMP_SYS(fchmod), SCMP_SYS(mmap), SCMP_SYS(msync), SCMP_SYS(munmap), SCMP_SYS(linkat)}) {
        const temp_dir dir;
        auto options = sized(1 << 20);
        options.file_mode = 0644;
        const auto exit = under_filter(step, SCMP_ACT_KILL_PROCESS, 0, 0, [&] {
            must(create(dir / "stream", options));
            return 0;
        });
        CHECK(exit.signalled);
        CHECK(exit.code == SIGSYS);
        killed += exit.signalled ? 1 : 0;
        CHECK(files_in(dir.path()) == 0);
        CHECK(code_of(reader::open(dir / "stream")) == "not_found");
        CHECK(code_of(create(dir / "stream", options)) == "ok");
    }
    CHECK(killed == 6);
}

TEST_CASE("a creation killed at random moments leaves a whole stream or nothing") {
    const std::uint64_t seed = seed_from_environment();
    std::mt19937_64 random(seed);
    const unsigned rounds = scaled(60);
    unsigned nothing = 0, whole = 0, creations = 0;
    const temp_dir dir;
    for (unsigned round = 0; round < rounds; ++round) {
        const auto name = [&](std::uint64_t n) { return dir / (std::to_string(round) + "." + std::to_string(n)); };
        record_pipe told;
        child creator([&] {
            for (std::uint64_t n = 0;; ++n) {
                told.write(n);
                must(create(name(n), sized(1 << 20)));
            }
            return 0;
        });
        told.keep_read_end();
        std::uint64_t last = 0;
        for (std::uint64_t wanted = 1 + random() % 4; last + 1 < wanted;)
            last = told.read().value();
        for (std::uint64_t turns = random() % 200'000; turns > 0; --turns)
            __asm__ volatile("");
        creator.kill(SIGKILL);
        CHECK(creator.wait().signalled);
        while (const auto more = told.read())
            last = *more;
        for (std::uint64_t n = 0; n <= last; ++n) {
            const auto found = writer::open(name(n));
            if (n < last)
                CHECK(code_of(found) == "ok");
            ++(found ? whole : nothing);
            CHECK((found || found.error().code() == errc::not_found));
            ++creations;
        }
        for (const auto& left : fs::directory_iterator(dir.path()))
            fs::remove(left);
    }
    MESSAGE("seed " << seed << ": " << rounds << " kills, " << creations << " creations: " << whole << " whole, "
                    << nothing << " without a trace");
    CHECK(whole + nothing == creations);
    CHECK(creations >= rounds);
}

TEST_CASE("where files without a name do not exist, a temporary one is used and removed") {
    const temp_dir dir;
    const auto exit = under_filter(SCMP_SYS(openat), SCMP_ACT_ERRNO(EOPNOTSUPP), 2, O_TMPFILE, [&] {
        auto options = sized(1 << 17);
        options.file_mode = 0640;
        if (code_of(create(dir / "stream", options)) != "ok" || files_in(dir.path()) != 1)
            return 1;
        struct stat st {};
        if (::stat((dir / "stream").c_str(), &st) != 0 || (st.st_mode & 07777) != 0640)
            return 2;
        if (code_of(writer::open(dir / "stream")) != "ok")
            return 3;
        if (code_of(create(dir / "stream", options)) != "already_exists")
            return 4;
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{1 << 18, 1 << 18};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0)
            return 5;
        return code_of(create(dir / "second", sized(1 << 20))) == "no_space" && !fs::exists(dir / "second") ? 0 : 6;
    });
    CHECK_FALSE(exit.signalled);
    CHECK(exit.code == 0);
    for (const auto& left : fs::directory_iterator(dir.path()))
        CHECK(left.path().filename().string().find("creating") == std::string::npos);
}

}  // namespace
