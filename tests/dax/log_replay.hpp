#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace pmemstream::dax {

struct replay_request {
    std::filesystem::path log;      ///< what dm-log-writes wrote
    std::filesystem::path image;    ///< the disk as power loss leaves it is made here
    std::uint64_t image_bytes = 0;  ///< size of the disk that was logged; it held zeros
    std::uint64_t seed = 0;
    unsigned samples = 2;              ///< disks between one flush and the next, beside those at the flush
    std::vector<std::string> command;  ///< called with the image and what the last mark said; 0: all is well
};

/// Loses power again and again while a disk is written: at each flush, where everything before is on the disk; and
/// between flushes, where any of the writes since may be, and those with FUA that were answered are. From the first mark
/// on. Prints what it saw; throws where the command failed or the log makes no sense.
void replay(const replay_request& what);

}  // namespace pmemstream::dax
