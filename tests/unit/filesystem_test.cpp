// File systems on which streams are refused. The tests have none of them, so this program answers fstatfs itself.
#include "tests/support/expect.hpp"
#include "tests/support/temp_dir.hpp"

#include <pmemstream/pmemstream.hpp>

#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <fstream>
#include <iterator>
#include <utility>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

decltype(std::declval<struct statfs>().f_type) pretended = 0;

std::string content(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

// Comes before that of the C library.
extern "C" int fstatfs(int fd, struct statfs* to) noexcept {
    const long got = ::syscall(SYS_fstatfs, fd, to);
    if (got == 0 && pretended != 0)
        to->f_type = pretended;
    return static_cast<int>(got);
}

TEST_CASE("network file systems are refused by name unless allowed, and nothing is changed") {
    const std::pair<std::uint32_t, std::string> all[] = {
        {0x6969, "NFS"}, {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"}, {0x517b, "SMB"}, {0x01021997, "9p"}};
    for (const auto& [magic, name] : all) {
        CAPTURE(name);
        const temp_dir dir;
        const auto file = dir / "stream";
        pretended = 0;
        must(create(file, {.stream_bytes = 1 << 20}));
        const auto before = content(file);
        pretended = magic;
        const auto check_refused = [&name = name](const auto& got) {
            CHECK(code_of(got) == "unsupported_filesystem");
            REQUIRE_FALSE(got.has_value());
            CHECK(got.error().message().find("lies on " + name) != std::string::npos);
        };
        check_refused(create(dir / "other", {.stream_bytes = 1 << 20}));
        check_refused(writer::open(file));
        check_refused(reader::open(file));
        CHECK(content(file) == before);
        CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);

        must(create(dir / "other", {.stream_bytes = 1 << 20, .allow_network_filesystem = true}));
        CHECK(writer::open(file, {.allow_network_filesystem = true}).has_value());
        CHECK(reader::open(file, {.allow_network_filesystem = true}).has_value());
    }
}

TEST_CASE("other file systems are not asked for their names") {
    for (const std::uint32_t magic : {0xef53u, 0x58465342u, 0x01021994u, 0x794c7630u, 0x12345678u}) {
        CAPTURE(magic);
        const temp_dir dir;
        pretended = magic;
        must(create(dir / "stream", {.stream_bytes = 1 << 20}));
        CHECK(writer::open(dir / "stream").has_value());
        CHECK(reader::open(dir / "stream").has_value());
    }
}
