#pragma once

#include "tests/crash/enumerator/trace.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::test {

struct seen_entry {
    std::uint64_t offset = 0;
    std::uint32_t payload_bytes = 0;
    std::uint64_t meta = 0;
    std::span<const std::byte> bytes;  ///< header and payload

    [[nodiscard]] std::uint64_t sequence() const;
    [[nodiscard]] bool is_filler() const;
    [[nodiscard]] bool goes_on() const;  ///< the batch does
};

struct seen_region {
    std::uint64_t slot = 0;  ///< offset of the slot
    std::uint64_t generation = 0;
    std::string name;
    std::uint64_t begin = 0;
    std::uint64_t committed = 0;
    std::uint64_t persisted = 0;
    std::uint64_t end = 0;
    std::uint64_t committed_sequence = 0;
    std::vector<seen_entry> entries;
};

/// What a stream's bytes say, read straight from them as docs/format.md has it: nothing of the library's recovery or
/// readers has a part in it.
struct seen_stream {
    std::uint64_t epoch = 0;
    std::uint64_t committed_sequence = 0;
    bool in_pages = false;             ///< made durable so: what a writer that died had not come to commit may count
    std::vector<seen_region> regions;  ///< the live ones
};

/// Throws std::runtime_error where the bytes make no sense. Points into them.
[[nodiscard]] seen_stream see(std::span<const std::byte> file);
/// The entries that lie back to back in [begin, end).
[[nodiscard]] std::vector<seen_entry> see_entries(std::span<const std::byte> file, std::uint64_t begin,
                                                  std::uint64_t end);
/// Offsets of all region slots.
[[nodiscard]] std::vector<std::uint64_t> slot_offsets(std::span<const std::byte> file);

}  // namespace pmemstream::test
