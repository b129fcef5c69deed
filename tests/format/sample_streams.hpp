#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

// Streams with something of everything, made through the public interface.
namespace pmemstream::test {

/// The one of the worked example: one region, two entries.
void make_tiny_stream(const std::filesystem::path& file);

/// Closed. Regions of many sizes (more than the first table segment holds), one of them freed, one freed and reused,
/// one cleared; entries of all small sizes and one that spans blocks, empty ones, fillers, batches.
void make_rich_stream(const std::filesystem::path& file, std::uint64_t block_bytes);
inline constexpr std::uint32_t rich_regions_min = 24;

/// Appends a few entries in a process of its own, which dies by SIGKILL with an entry half written.
void append_and_die(const std::filesystem::path& file);

/// A copy as power loss might leave it: the last entry of region "alpha" is torn. A writer then opens and closes it.
void copy_torn_and_recover(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace pmemstream::test
