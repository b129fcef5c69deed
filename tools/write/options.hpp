#pragma once

#include "tools/common/output.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <pmemstream/stream.hpp>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// Where the entries come from.
enum class source_kind : std::uint8_t { lines, frames, files, resumed_lines, command };

struct write_options {
    std::filesystem::path stream;
    std::string region = "main";
    source_kind source = source_kind::lines;
    std::vector<std::string> files;
    std::string resumed_file;
    std::vector<std::string> command;
    create_options create;
    bool stream_bytes_given = false;
    bool block_bytes_given = false;
    std::optional<std::uint64_t> region_bytes;
    region_attributes attributes;  ///< of the region, where it is made
    std::optional<mode_t> control_mode;
    std::optional<double> pace;  ///< entries per second
    bool wait_for_lock = false;
    bool durable = false;  ///< each entry persisted before the next is taken
    std::chrono::milliseconds persist_every{0};
    std::optional<std::uint64_t> pretouch_bytes;
};

/// Nothing when help or the version was asked for and printed. Ends the tool when the command line makes no sense.
[[nodiscard]] std::optional<write_options> parse_write_options(int argc, char** argv, output& out);

}  // namespace pmemstream::tools
