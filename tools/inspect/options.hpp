#pragma once

#include "tools/common/output.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <pmemstream/types.hpp>
#include <string>

namespace pmemstream::tools {

enum class inspect_command : std::uint8_t { info, regions, dump, tail, readers, verify, salvage };
enum class entry_format : std::uint8_t { text, hex, json, frames };

struct inspect_options {
    inspect_command command = inspect_command::info;
    std::filesystem::path stream;
    std::filesystem::path out;  ///< salvage: the new stream
    std::optional<std::string> region;
    bool json = false;

    // dump and tail
    enum class start : std::uint8_t { standard, oldest, newest, offset, after };
    start from = start::standard;  ///< standard: the oldest for dump, the last `count` for tail
    offset at{};
    sequence behind = sequence::none;
    std::optional<std::uint64_t> count;
    entry_format format = entry_format::text;
    pmemstream::horizon horizon = pmemstream::horizon::committed;
    bool with_sequences = false;
    bool with_regions = false;
    bool follow = false;
    bool wait = false;  ///< for the stream and the region to appear
};

/// Nothing when help or the version was asked for and printed. Ends the tool when the command line makes no sense.
[[nodiscard]] std::optional<inspect_options> parse_inspect_options(int argc, char** argv, output& out);

}  // namespace pmemstream::tools
