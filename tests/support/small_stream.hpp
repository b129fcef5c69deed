#pragma once

#include "tests/support/expect.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/test_payloads.hpp"

#include <pmemstream/pmemstream.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace pmemstream::test {

/// A stream in a directory of its own.
struct small_stream {
    temp_dir dir;
    std::filesystem::path file = dir / "stream";

    explicit small_stream(std::uint64_t stream_bytes = 1 << 20, std::uint64_t block_bytes = 64) {
        create_options options;
        options.stream_bytes = stream_bytes;
        options.block_bytes = block_bytes;
        must(create(file, options));
    }

    /// Most tests are not about doorbells; without a control file an opening is cheaper.
    [[nodiscard]] std::unique_ptr<writer> write() const {
        writer_options options;
        options.without_control = true;
        return must(writer::open(file, options));
    }
    [[nodiscard]] reader read() const {
        reader_options options;
        options.without_control = true;
        return must(reader::open(file, options));
    }
};

/// Everything that a cursor shows now, as text. Throws where it ends with an error.
template <class Cursor>
[[nodiscard]] std::vector<std::string> texts_of(Cursor&& cursor) {
    std::vector<std::string> texts;
    for (const entry& shown : cursor)
        texts.push_back(text_of(shown.payload()));
    must(cursor.status());
    return texts;
}

[[nodiscard]] inline std::vector<std::string> texts_in(const reader& from, region where, cursor_options options = {}) {
    options.check_crc = true;
    return texts_of(must(from.follow(where, options)));
}

[[nodiscard]] inline std::vector<std::string> all_texts(const reader& from, cursor_options options = {}) {
    options.check_crc = true;
    return texts_of(must(from.follow_all(options)));
}

using texts = std::vector<std::string>;

}  // namespace pmemstream::test
