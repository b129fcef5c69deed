#pragma once

#include "tools/write/appender.hpp"
#include "tools/write/input.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace pmemstream::tools {

/// Why a source stopped.
enum class stop : std::uint8_t { end, signal, late };

/// Hands out an input's lines, without their newlines, as soon as each is complete. A last line without newline counts
/// when the input is at its end.
class line_source {
public:
    explicit line_source(input& from) : from_(from) {}

    /// The next line, valid until the next call; or nothing, and why() tells. `bytes_max`: a longer one is handed out
    /// before it is complete, for the caller to refuse.
    [[nodiscard]] std::optional<std::span<const std::byte>> next(std::uint64_t bytes_max);
    [[nodiscard]] stop why() const noexcept { return why_; }
    /// The line handed out last ended with a newline, and not with the input.
    [[nodiscard]] bool whole() const noexcept { return whole_; }
    /// Of the line handed out last; the first is 1.
    [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

private:
    input& from_;
    std::size_t consumed_ = 0;  // of the line handed out last, with its newline
    std::size_t searched_ = 0;  // pending bytes known to hold no newline
    std::uint64_t number_ = 0;
    stop why_ = stop::end;
    bool whole_ = true;
};

/// Appends line after line to the region that --region names.
[[nodiscard]] stop append_lines(appender& to, const write_options& options, line_source& lines, const input& from);
[[nodiscard]] stop append_frames(appender& to, const write_options& options, input& from);
[[nodiscard]] stop append_files(appender& to, const write_options& options);
/// Compares the region's entries with the first lines of the file, and appends the others. A last line without newline
/// may still grow, and a grown line would not be the one that was appended: it is left for a later run.
[[nodiscard]] stop append_rest_of_file(appender& to, const write_options& options);
/// Appends the lines a command prints. Returns the exit status for the tool.
[[nodiscard]] int append_command(appender& to, const write_options& options);

}  // namespace pmemstream::tools
