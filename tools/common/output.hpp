#pragma once

#include <fmt/format.h>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace pmemstream::tools {

/// Thrown when nobody reads standard output any more: the tool ends, and that is fine.
struct reader_gone {};

/// Standard output with a buffer of its own. Every failure to write is told: none is left to a destructor.
class output {
public:
    output();
    output(const output&) = delete;
    output& operator=(const output&) = delete;

    void put(std::string_view text) {
        buffer_.append(text);
        if (buffer_.size() >= flush_bytes)
            flush();
    }
    template <class... Args>
    void print(fmt::format_string<Args...> text, Args&&... args) {
        fmt::format_to(std::back_inserter(buffer_), text, std::forward<Args>(args)...);
        if (buffer_.size() >= flush_bytes)
            flush();
    }

    /// Writes all of it out. Throws reader_gone, interrupted (a signal came while the reader was slow), failed.
    void flush();
    /// Flushes and closes: some file systems tell only then that they did not store it.
    void finish();
    /// Throws reader_gone if it left; for those who have nothing to write and would not notice.
    void check_reader() const;

private:
    static constexpr std::size_t flush_bytes = 64 << 10;
    std::string buffer_;
    bool regular_file_ = false;
};

}  // namespace pmemstream::tools
