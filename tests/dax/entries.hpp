#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pmemstream::dax {

/// Appends entries, each of which says which one it is, to the region "log" of a stream that is made if it is not there
/// (and takes half of what is free), and prints "persisted COUNT" for those that survive power loss: after every `report_every`-th. Goes on behind what is
/// there, until `until` entries are. `log_device`: of dm-log-writes; each report is a mark there, too. Empty: none.
void append_entries(const std::filesystem::path& file, std::uint64_t until, std::uint64_t report_every,
                    const std::string& log_device);

/// Throws unless the stream holds at least so many entries and each is whole and in its place, for a reader and after a
/// writer's recovery; appends one more. `least` 0: there need not be a stream. Prints one line.
void check_entries(const std::filesystem::path& file, std::uint64_t least);

}  // namespace pmemstream::dax
