#pragma once

#include "tests/support/child.hpp"

#include <pmemstream/reader.hpp>

#include <doctest/doctest.h>
#include <sys/types.h>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The built tools as real processes, and what their users would see of them.
namespace pmemstream::test {

inline const std::string write_tool = PMEMSTREAM_WRITE;
inline const std::string inspect_tool = PMEMSTREAM_INSPECT;

using words = std::vector<std::string>;

/// What a tool is started in.
struct surroundings {
    std::string input{};                     ///< what standard input gives
    std::optional<uid_t> as_user{};          ///< and no other groups
    std::vector<std::string> environment{};  ///< "NAME=VALUE", beside that of the test
};

/// How it ended, and what it said.
struct ended {
    bool signalled = false;
    int code = 0;  ///< exit status or signal
    std::string out;
    std::string err;

    [[nodiscard]] bool says(std::string_view text) const { return err.find(text) != std::string::npos; }
    /// Exit status, when it ended by itself; -signal otherwise.
    [[nodiscard]] int status() const noexcept { return signalled ? -code : code; }
};

/// Runs a program to its end.
[[nodiscard]] ended run(const words& command, const surroundings& in = {});
/// Runs a bash script in which $WRITE and $INSPECT are the tools.
[[nodiscard]] ended shell(const std::string& script, const surroundings& in = {});

/// A tool at work, with pipes as its standard streams.
class running {
public:
    explicit running(const words& command, const surroundings& in = {});
    ~running();
    running(const running&) = delete;
    running& operator=(const running&) = delete;

    void send(std::string_view text) const;
    void end_input();
    /// Closes this end of its standard output.
    void leave_output();
    /// The next line of its standard output, without the newline. Nothing at the end.
    [[nodiscard]] std::optional<std::string> line();
    void kill(int signal) { child_->kill(signal); }
    /// Returns when none of its threads runs any more, until SIGCONT.
    void stop();
    /// Until the process handles the signal, which a program just started does not yet.
    void await_handler(int signal) const;
    [[nodiscard]] pid_t pid() const noexcept { return child_->pid(); }
    /// What it said on standard error so far.
    [[nodiscard]] std::string err() const;
    /// Waits for the end; `out` holds what was not taken by line().
    [[nodiscard]] ended wait();

private:
    int in_ = -1;
    int out_ = -1;
    std::string pending_;
    std::filesystem::path err_;
    std::optional<child> child_;
};

/// The payloads of a region, read and checked by the library; every region in order of sequences without a name.
[[nodiscard]] std::vector<std::string> entries_of(const std::filesystem::path& file,
                                                  std::optional<std::string> region = "main");

[[nodiscard]] std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, std::string_view text);
/// "1\n2\n…"
[[nodiscard]] std::string numbered_lines(std::uint64_t count);
[[nodiscard]] std::vector<std::string> split_lines(std::string_view text);

/// uid and gid of nobody.
inline constexpr uid_t nobody = 65534;

}  // namespace pmemstream::test
