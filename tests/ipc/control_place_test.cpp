// Where the control file is, whose it is, and what a writer may replace to have one.
#include "tests/ipc/common.hpp"

#include <doctest/doctest.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fstream>
#include <functional>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

namespace fs = std::filesystem;

constexpr uid_t nobody = 65534;
constexpr uid_t somebody = 12345;

fs::path make_stream(const temp_dir& dir, const std::string& name = "stream") {
    const auto path = dir / name;
    must(create(path, {.stream_bytes = 1 << 20, .file_mode = 0600}));
    return path;
}

struct stat look_at(const fs::path& path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    return st;
}

/// What a test leaves where the control file is to be.
void put(const fs::path& path, std::string begin, std::uint64_t bytes, mode_t mode, uid_t owner) {
    begin.resize(bytes);
    fs::remove(path);
    std::ofstream(path) << begin;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    REQUIRE(::lchown(path.c_str(), owner, owner) == 0);
}

const std::string magic = "PEMSCTL\n";

std::uint64_t control_bytes(const temp_dir& dir) {
    const auto path = make_stream(dir, "measured");
    const auto w = must(writer::open(path));
    return fs::file_size(control_path(path));
}

bool is_root(const char* what) {
    if (::geteuid() == 0)
        return true;
    MESSAGE("NOT TESTED, because this is not root: " << what);
    return false;
}

/// The state of a writer's control file, and whether a reader by the real path can use it.
void check_works(const writer& w, const fs::path& path) {
    CHECK(w.control() == control_state::attached);
    CHECK(w.control_status().has_value());
    CHECK(must(reader::open(path)).control() == control_state::attached);
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
    check_works(*w, path);
    CHECK_FALSE(fs::exists(control_path(other)));
    CHECK(must(reader::open(link)).control() == control_state::absent);
    CHECK(must(reader::open(link)).info().uuid == must(reader::open(other)).info().uuid);
}

TEST_CASE("a control file that somebody else left is replaced, whoever it belongs to") {
    if (!is_root("files of other users"))
        return;
    const temp_dir dir;
    const auto bytes = control_bytes(dir);
    const auto path = make_stream(dir);
    struct left {
        const char* what;
        std::string begin;
        std::uint64_t bytes;
    };
    for (const auto& [what, begin, size] :
         {left{"whole", magic, bytes}, left{"cut short", magic, 8}, left{"of another version", magic, bytes + 4096}}) {
        CAPTURE(what);
        put(control_path(path), begin, size, 0600, somebody);
        const auto w = must(writer::open(path));
        check_works(*w, path);
        CHECK(look_at(control_path(path)).st_uid == 0);
    }
}

TEST_CASE("what a writer of root leaves belongs to the stream's owner, whose writer keeps it") {
    if (!is_root("streams of other users"))
        return;
    const temp_dir dir;
    REQUIRE(::chown(dir.path().c_str(), nobody, nobody) == 0);
    const auto path = make_stream(dir);
    REQUIRE(::chown(path.c_str(), nobody, nobody) == 0);
    (void)must(writer::open(path));
    const auto left = look_at(control_path(path));
    CHECK(left.st_uid == nobody);
    CHECK(left.st_gid == nobody);
    const auto as_nobody = [&](const std::function<int()>& body) {
        return child([&] {
                   demand(::setgroups(0, nullptr) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0, "nobody");
                   return body();
               })
            .wait()
            .code;
    };
    const auto opens = [&] { return must(writer::open(path))->control() == control_state::attached ? 0 : 1; };
    CHECK(as_nobody(opens) == 0);
    CHECK(look_at(control_path(path)).st_ino == left.st_ino);
    // And root keeps what the owner left.
    CHECK(must(writer::open(path))->control() == control_state::attached);
    CHECK(look_at(control_path(path)).st_ino == left.st_ino);

    // One that may not even be read: the owner of the directory may rename over it all the same.
    put(control_path(path), magic, fs::file_size(control_path(path)), 0600, 0);
    CHECK(as_nobody(opens) == 0);
    CHECK(look_at(control_path(path)).st_uid == nobody);
    put(control_path(path), "precious", 8, 0600, 0);
    CHECK(as_nobody(opens) == 1);
    CHECK(look_at(control_path(path)).st_uid == 0);
}

TEST_CASE("what cannot be told for a control file is left alone, and the writer says so") {
    const temp_dir dir;
    const auto bytes = control_bytes(dir);
    const auto path = make_stream(dir);
    const auto control = control_path(path);
    const uid_t me = ::geteuid();
    SUBCASE("an empty file") {
        put(control, "", 0, 0600, me);
    }
    SUBCASE("zeros of its size") {
        put(control, "", bytes, 0600, me);
    }
    SUBCASE("a text of its size") {
        put(control, std::string(bytes, 'x'), bytes, 0600, me);
    }
    SUBCASE("a little less than the magic") {
        put(control, magic.substr(0, 7), 7, 0600, me);
    }
    SUBCASE("a link to a control file") {
        put(dir / "target", magic, bytes, 0644, me);
        fs::create_symlink(dir / "target", control);
    }
    SUBCASE("a directory") {
        fs::create_directory(control);
    }
    SUBCASE("a FIFO") {
        REQUIRE(::mkfifo(control.c_str(), 0600) == 0);
    }
    const auto before = look_at(control);
    auto w = must(writer::open(path));
    CHECK(w->control() == control_state::refused);
    CHECK(code_of(w->control_status()) == "already_exists");
    CHECK(w->control_status().error().message().find(control.string()) != std::string::npos);
    CHECK(must(reader::open(path)).control() == control_state::absent);
    const auto after = look_at(control);
    CHECK(after.st_ino == before.st_ino);
    CHECK(after.st_mode == before.st_mode);
    CHECK(after.st_size == before.st_size);
    CHECK(after.st_mtime == before.st_mtime);
    // Once it is out of the way, the writer tries again.
    fs::rename(control, dir / "away");
    REQUIRE(eventually([&] { return w->control() == control_state::attached; }));
    check_works(*w, path);
}

TEST_CASE("a file of ours that somebody linked to the control file's place keeps its mode") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    (void)must(writer::open(path, {.control_mode = 0666}));  // so that the header has a nonce
    put(dir / "secret", "secret", 6, 0600, ::geteuid());
    fs::remove(control_path(path));
    fs::create_hard_link(dir / "secret", control_path(path));
    const auto w = must(writer::open(path, {.control_mode = 0666}));
    CHECK(w->control() == control_state::refused);
    CHECK((look_at(dir / "secret").st_mode & 07777) == 0600);
}

TEST_CASE("a control file of another stream that somebody linked here is neither taken nor changed") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const auto other = make_stream(dir, "other");
    (void)must(writer::open(other, {.control_mode = 0600}));
    // Whoever owns a stream can write any nonce into it: this one gets the other's whole header line.
    fs::copy_file(other, path, fs::copy_options::overwrite_existing);
    fs::create_hard_link(control_path(other), control_path(path));
    const auto before = look_at(control_path(other));
    const auto w = must(writer::open(path, {.control_mode = 0666}));
    check_works(*w, path);
    const auto after = look_at(control_path(other));
    CHECK(after.st_ino == before.st_ino);
    CHECK((after.st_mode & 07777) == 0600);
    CHECK(look_at(control_path(path)).st_ino != before.st_ino);
}

TEST_CASE("a directory that is swapped for a link does not lead the writer to another's files") {
    const temp_dir dir;
    fs::create_directory(dir / "here");
    fs::create_directory(dir / "theirs");
    const auto path = make_stream(dir, "here/stream");
    const auto w = must(writer::open(path));
    const auto early = must(reader::open(path));
    fs::rename(dir / "here", dir / "moved");
    fs::create_directory_symlink("theirs", dir / "here");
    SUBCASE("with nothing there") {}
    SUBCASE("with a control file there") {
        put(dir / "theirs/stream.ctl", magic, control_bytes(dir), 0600, ::geteuid());
    }
    const auto names = [&] {
        std::vector<std::pair<fs::path, ino_t>> all;
        for (const auto& entry : fs::directory_iterator(dir / "theirs"))
            all.emplace_back(entry.path(), look_at(entry.path()).st_ino);
        return all;
    };
    const auto before = names();
    fs::remove(dir / "moved/stream.ctl");
    REQUIRE(
        eventually([&] { return early.control() == control_state::attached && fs::exists(dir / "moved/stream.ctl"); }));
    check_works(*w, dir / "moved/stream");
    CHECK(names() == before);
}

TEST_CASE("a stream that lost its name does not fight for a control file with the one that has it now") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    const auto w = must(writer::open(path));
    fs::rename(path, dir / "renamed");
    const auto other = must(writer::open(make_stream(dir)));
    check_works(*other, path);
    REQUIRE(eventually([&] { return w->control() == control_state::refused; }));
    CHECK(code_of(w->control_status()) == "not_found");
    check_works(*other, path);
    const auto where = must(w->allocate(4096));
    CHECK(must(w->append(where, {})) == sequence{1});
    CHECK(must(reader::open(dir / "renamed")).control() == control_state::absent);
}

TEST_CASE("a writer that wants no control file, or is closed, has none") {
    const temp_dir dir;
    const auto path = make_stream(dir);
    {
        const auto w = must(writer::open(path, {.without_control = true}));
        CHECK(w->control() == control_state::absent);
        CHECK(w->control_status().has_value());
    }
    auto w = must(writer::open(path));
    check_works(*w, path);
    must(w->close());
    CHECK(w->control() == control_state::absent);
    CHECK(w->control_status().has_value());
}
