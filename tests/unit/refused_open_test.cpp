#include "src/format/layout.hpp"
#include "src/format/validate.hpp"
#include "src/format/words.hpp"
#include "tests/support/child.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
namespace fs = std::filesystem;

/// Writer and reader both refuse with this code and name the file, and not a byte of it changes.
void check_refused(const fs::path& file, const std::string& code, const std::string& said = "") {
    CAPTURE(file);
    const auto before = fs::is_regular_file(file) ? read_image(file) : file_image();
    const auto written = writer::open(file);
    const auto read = reader::open(file);
    CHECK(code_of(written) == code);
    CHECK(code_of(read) == code);
    for (const auto& message : {message_of(written), message_of(read)}) {
        CHECK(message.find(file.string()) != std::string::npos);
        CHECK_MESSAGE(message.find(said) != std::string::npos, message);
    }
    if (fs::is_regular_file(file))
        CHECK(read_image(file) == before);
    CHECK_FALSE(fs::exists(file.string() + ".ctl"));
}

/// A stream with something in it, closed.
struct closed_stream : small_stream {
    closed_stream() {
        const auto to = write();
        must(to->append(must(to->allocate(1000, "r")), bytes_of("content")));
    }
    /// Stores a superblock with a CRC that fits.
    template <class Change>
    void change_superblock(Change change) const {
        auto block = peek<format::superblock>(file, 0);
        change(block);
        block.crc = format::superblock_crc(block);
        poke(file, 0, block);
    }
};

TEST_CASE("a file that is missing is not_found") {
    const temp_dir dir;
    check_refused(dir / "stream", "not_found");
    check_refused(dir / "directory" / "stream", "not_found");
    CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("empty, all zero and foreign files are no streams") {
    const temp_dir dir;
    write_image(dir / "empty", {});
    check_refused(dir / "empty", "not_a_stream", "empty");
    for (const std::size_t bytes : {1, 7, 8, 511, 512, 100'000}) {
        write_image(dir / "zero", file_image(bytes));
        check_refused(dir / "zero", "not_a_stream", "zero");
        write_image(dir / "foreign", numbered_payload(1, bytes, bytes));
        check_refused(dir / "foreign", "not_a_stream", "magic");
    }
    write_image(dir / "control", file_image(8192, std::byte{'P'}));
    check_refused(dir / "control", "not_a_stream");
}

TEST_CASE("directories and special files hold no stream") {
    const temp_dir dir;
    fs::create_directory(dir / "directory");
    check_refused(dir / "directory", "not_a_file");
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0666) == 0);
    check_refused(dir / "fifo", "not_a_file");
    check_refused("/dev/null", "not_a_file");
}

TEST_CASE("a stream that was cut off says how much is left, at every length") {
    const closed_stream stream;
    const auto image = read_image(stream.file);
    for (std::size_t bytes = 1; bytes < image.size(); bytes = bytes < 600 ? bytes + 1 : bytes * 2 - 1) {
        write_image(stream.file, file_image(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(bytes)));
        check_refused(stream.file, bytes < 8 ? "not_a_stream" : "truncated", bytes < 8 ? "" : std::to_string(bytes));
    }
    write_image(stream.file, file_image(image.begin(), image.end() - 1));
    check_refused(stream.file, "truncated");
    write_image(stream.file, image);
    CHECK(code_of(writer::open(stream.file)) == "ok");
}

TEST_CASE("a stream in a file that is longer opens") {
    const closed_stream stream;
    fs::resize_file(stream.file, fs::file_size(stream.file) + 12'345);
    CHECK(all_texts(stream.read()) == texts{"content"});
    CHECK(code_of(writer::open(stream.file)) == "ok");
}

TEST_CASE("another version is unsupported_format, with or without a CRC that this version knows") {
    const closed_stream stream;
    const auto image = read_image(stream.file);
    stream.change_superblock([](auto& block) { block.version = 2; });
    check_refused(stream.file, "unsupported_format", "version 2");
    write_image(stream.file, image);
    stream.change_superblock([](auto& block) { block.version = 0; });
    check_refused(stream.file, "unsupported_format", "version 0");
    // Of a later format, whose superblock has another size and its CRC elsewhere.
    write_image(stream.file, image);
    auto later = peek<format::superblock>(stream.file, 0);
    later.version = 3;
    later.struct_bytes = 384;
    poke(stream.file, 0, later);
    check_refused(stream.file, "unsupported_format", "version 3");
    // The version alone: that is damage.
    write_image(stream.file, image);
    poke(stream.file, 8, 3u);
    check_refused(stream.file, "corrupt", "superblock");
}

TEST_CASE("a damaged superblock is corrupt, whichever byte of it behind the magic") {
    const closed_stream stream;
    unsigned refused = 0;
    for (std::uint64_t at = 0; at < sizeof(format::superblock); ++at) {
        flip(stream.file, at, std::byte{0x10});
        const auto got = writer::open(stream.file);
        // Of the version's and the size's bytes it cannot be told whether they are damage or another format.
        if (at < 8)
            CHECK(code_of(got) == "not_a_stream");
        else
            CHECK(code_of(got) == "corrupt");
        refused += got ? 0 : 1;
        flip(stream.file, at, std::byte{0x10});
    }
    CHECK(refused == sizeof(format::superblock));
    flip(stream.file, 100);
    check_refused(stream.file, "corrupt", "superblock");
}

TEST_CASE("a superblock that contradicts itself is corrupt, although its CRC fits") {
    const closed_stream stream;
    const auto image = read_image(stream.file);
    const auto check = [&](auto change) {
        stream.change_superblock(change);
        check_refused(stream.file, "corrupt", "superblock");
        write_image(stream.file, image);
    };
    check([](auto& b) { b.struct_bytes = 128; });
    check([](auto& b) { b.block_bytes = 0; });
    check([](auto& b) { b.block_bytes = 65; });
    check([](auto& b) { b.block_bytes = std::uint64_t{1} << 31; });
    check([](auto& b) { b.slot_bytes = 383; });
    check([](auto& b) { b.first_segment_slots = 0; });
    check([](auto& b) { b.first_segment_slots = ~0u; });
    check([](auto& b) { b.header_offset = 1024; });
    check([](auto& b) { b.table_offset = 512; });
    check([](auto& b) { b.data_offset = 64; });
    check([](auto& b) { b.data_offset += 1; });
    check([](auto& b) { b.data_offset = ~std::uint64_t{63}; });
    check([](auto& b) { b.initial_stream_bytes = ~std::uint64_t{0}; });
    stream.change_superblock([](auto& b) { b.initial_stream_bytes *= 2; });
    check_refused(stream.file, "truncated");
}

TEST_CASE("an impossible size of the stream in the header is corrupt, one beyond the file truncated") {
    const closed_stream stream;
    const auto where = format::header_offset + offsetof(format::shared_header, features) +
                       offsetof(format::feature_line, stream_bytes);
    const auto word = peek<std::uint64_t>(stream.file, where);
    const auto bytes = *format::stream_bytes_of(word);
    const auto most = peek<format::superblock>(stream.file, 0).stream_bytes_max;
    for (const std::uint64_t wrong : {std::uint64_t{0}, bytes - 64, bytes + 1, most + 64}) {
        poke(stream.file, where, format::size_word(wrong));
        check_refused(stream.file, "corrupt", "size");
    }
    // Larger, and no word says so by itself.
    for (unsigned bit = 0; bit < 64; ++bit) {
        poke(stream.file, where, word ^ std::uint64_t{1} << bit);
        check_refused(stream.file, "corrupt", "size");
    }
    poke(stream.file, where, format::size_word(bytes * 2));
    check_refused(stream.file, "truncated");
}

TEST_CASE("without permission the answer is no_permission, and a file that may only be read can be read") {
    const closed_stream stream;
    REQUIRE(::chmod(stream.dir.path().c_str(), 0755) == 0);
    const auto as_nobody = [](const std::function<bool()>& holds) {
        child somebody([&]() -> int {
            if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0))
                return 2;
            return holds() ? 0 : 1;
        });
        return somebody.wait().code;
    };
    REQUIRE(::chmod(stream.file.c_str(), 0) == 0);
    CHECK(as_nobody([&] {
              const auto written = writer::open(stream.file);
              const auto read = reader::open(stream.file);
              return code_of(written) == "no_permission" && code_of(read) == "no_permission" &&
                     message_of(written).find(stream.file.string()) != std::string::npos &&
                     message_of(read).find(stream.file.string()) != std::string::npos;
          }) == 0);
    REQUIRE(::chmod(stream.file.c_str(), 0444) == 0);
    CHECK(as_nobody([&] {
              return code_of(writer::open(stream.file)) == "no_permission" && all_texts(stream.read()).size() == 1;
          }) == 0);
}

}  // namespace
