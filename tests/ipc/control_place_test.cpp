// Where the control file is.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

namespace fs = std::filesystem;

fs::path make_stream(const temp_dir& dir, const std::string& name = "stream") {
    const auto path = dir / name;
    must(create(path, {.stream_bytes = 1 << 20, .file_mode = 0600}));
    return path;
}

}  // namespace

TEST_CASE("writer and readers find one control file, by whatever name they open the stream") {
    const temp_dir dir;
    fs::create_directories(dir / "real/deep");
    const auto path = dir / "real/deep/stream";
    must(create(path, {.stream_bytes = 1 << 20}));
    fs::create_symlink(path, dir / "absolute");
    fs::create_symlink("real/deep/stream", dir / "relative");
    fs::create_directory_symlink("real", dir / "directory");
    fs::create_symlink("../deep/../../relative", dir / "real/deep/twice");
    const std::vector<fs::path> names{path, dir / "absolute", dir / "relative", dir / "directory/deep/stream",
                                      dir / "real/deep/twice"};
    for (const auto& name : names) {
        CAPTURE(name.string());
        const auto w = must(writer::open(name));
        for (const auto& other : names) {
            CAPTURE(other.string());
            const auto from = must(reader::open(other));
            CHECK(from.control() == control_state::attached);
            CHECK(must(from.registered()).empty());
            const auto cursor = must(from.follow_all());
            CHECK(cursor.registered());
            CHECK(must(must(reader::open(path)).registered()).size() == 1);
        }
        CHECK(fs::exists(control_path(path)));
        for (const auto& other : names)
            CHECK((other == path || other == dir / "directory/deep/stream" || !fs::exists(control_path(other))));
    }
}

TEST_CASE("a link that leads elsewhere later takes neither the control file nor the stream with it") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const auto other = make_stream(dir, "other");
    const auto link = dir / "link";
    fs::create_symlink("stream", link);
    const auto w = must(writer::open(link));
    const auto early = must(reader::open(link));
    fs::create_symlink("other", dir / "new link");
    fs::rename(dir / "new link", link);
    // Deleted, it is made again where it was, and not where the link leads now.
    fs::remove(control_path(path));
    REQUIRE(eventually([&] { return early.control() == control_state::attached && fs::exists(control_path(path)); }));
    CHECK(must(reader::open(path)).control() == control_state::attached);
    CHECK_FALSE(fs::exists(control_path(other)));
    CHECK(must(reader::open(link)).control() == control_state::absent);
    CHECK(must(reader::open(link)).info().uuid == must(reader::open(other)).info().uuid);
}
