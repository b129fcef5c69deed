#pragma once

#include <pmemstream/result.hpp>

#include <fmt/format.h>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace pmemstream::tools {

/// What the tools say by their exit status; the manual pages list them.
enum class exit_code : int {
    fine = 0,
    usage = 1,         ///< the command line makes no sense
    not_a_stream = 2,  ///< foreign, of an unknown format, or cut off
    corrupt = 3,       ///< damaged
    io = 4,            ///< the system refused, or something is not there
    no_room = 5,       ///< the region, or the stream, is full
    busy = 6,          ///< another writer has the stream
    bad_input = 7,     ///< what was to be appended makes no sense
};

[[nodiscard]] constexpr exit_code exit_code_of(errc code) noexcept {
    switch (code) {
        case errc::invalid_argument:
        case errc::too_small:
        case errc::too_large:
            return exit_code::usage;
        case errc::not_a_file:
        case errc::not_a_stream:
        case errc::unsupported_format:
        case errc::truncated:
            return exit_code::not_a_stream;
        case errc::corrupt:
            return exit_code::corrupt;
        case errc::exhausted:
        case errc::region_full:
            return exit_code::no_room;
        case errc::writer_busy:
        case errc::device_busy:
        case errc::blocked_by_reader:
            return exit_code::busy;
        default:
            return exit_code::io;
    }
}

/// Ends the tool with a message and an exit code. Thrown and caught inside the tools only.
class failed : public std::exception {
public:
    failed(exit_code code, std::string message) : message_(std::move(message)), code_(code) {}
    [[nodiscard]] exit_code code() const noexcept { return code_; }
    [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

private:
    std::string message_;
    exit_code code_;
};

template <class... Args>
[[noreturn]] void fail(exit_code code, fmt::format_string<Args...> text, Args&&... args) {
    throw failed(code, fmt::format(text, std::forward<Args>(args)...));
}

/// With what the system says about `system_error` behind it.
[[noreturn]] void fail_with_errno(int system_error, std::string_view what);

/// What to do about an error, for those who operate a stream; empty where its message says it all.
[[nodiscard]] constexpr std::string_view advice_for(errc code) noexcept {
    switch (code) {
        case errc::truncated:
        case errc::corrupt:
            return "; pmemstream-inspect salvage copies what is still whole to a new stream";
        case errc::writer_busy:
            return "; pmemstream-write --wait-lock waits for it";
        default:
            return {};
    }
}

/// The same for one whose message tells more than its code: a file that begins with neither zeros nor the magic may be a
/// stream of which the first bytes are damaged.
[[nodiscard]] inline std::string_view advice_for(const error& why) {
    if (why.code() == errc::not_a_stream && why.message().ends_with(": no magic at offset 0"))
        return "; if it was one, pmemstream-inspect salvage finds what is whole";
    return advice_for(why.code());
}

[[noreturn]] inline void fail(const error& why) {
    throw failed(exit_code_of(why.code()), why.message() + std::string(advice_for(why)));
}

/// The value, or the end of the tool.
template <class T>
T need(result<T>&& got) {
    if (!got)
        fail(got.error());
    if constexpr (!std::is_void_v<T>)
        return std::move(*got);
}

/// The end of the tool where a file on the command line has an empty name: what the system says of it would name nothing.
inline void need_name(const std::filesystem::path& file, std::string_view what) {
    if (file.empty())
        fail(exit_code::usage, "the name of {} is empty (see --help)", what);
}

}  // namespace pmemstream::tools
