#pragma once

#include <pmemstream/export.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <sys/types.h>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pmemstream {

/// Size of a stream in a file for which no other is asked.
inline constexpr std::uint64_t stream_bytes_default = std::uint64_t{64} << 20;

struct create_options {
    /// Size of the stream, rounded up to a whole number of blocks. Unset: stream_bytes_default of a file (64 MiB); of a
    /// block device all of it, rounded down.
    std::optional<std::uint64_t> stream_bytes = std::nullopt;
    /// The largest size that the stream may ever grow to; fixed at creation, at most 64 TiB. Unset: 16 times
    /// `stream_bytes`, and at least 1 TiB.
    std::optional<std::uint64_t> stream_bytes_max = std::nullopt;
    /// Unit in which regions take space: a power of two from 64 to 1 GiB. Small blocks waste less on small regions.
    std::uint64_t block_bytes = 4096;
    /// Permissions of the file, exactly these (no umask). Unset: 0666 less the umask. Not for a device: those of its node
    /// are the system's.
    std::optional<mode_t> file_mode = std::nullopt;
    /// Allow NFS, CIFS and 9p, where processes on two machines would not see one another's stores.
    bool allow_network_filesystem = false;
    /// A block device that holds anything (even a stream) is overwritten, first of all its first and last MiB.
    bool overwrite_device = false;
};

/// Creates a stream with its space allocated for real, durable when this returns. It is built under no name (or, where
/// the file system cannot do that, a temporary one) and appears at `file` complete or not at all, never in place of
/// anything that is there.
/// Where `file` is a block device, the stream is made on it, if its first and last MiB read as zeros and nobody uses it
/// exclusively (no file system is mounted from it, no writer has it). A creation that is cut short leaves no stream there.
/// Process safety: of several that create the same file at once exactly one succeeds.
/// Errors: already_exists (of a device: it is not blank; the message gives the first offset), device_busy,
/// invalid_argument (block size; growth below the size; mode of a device), too_small, too_large, no_space, no_permission, not_found (the
/// directory), unsupported_filesystem, io.
[[nodiscard]] PMEMSTREAM_API result<void> create(const std::filesystem::path& file, const create_options& options = {});

/// What a stream is, from its superblock and header. The values that move are those of the moment.
struct stream_info {
    std::filesystem::path file;
    std::uint32_t format_version = 0;
    pmemstream::uuid uuid{};
    std::uint64_t creation_ns = 0;       ///< since the Unix epoch
    std::uint64_t stream_bytes = 0;      ///< size of the stream in its file
    std::uint64_t stream_bytes_max = 0;  ///< the largest size that it may grow to
    std::uint64_t lineage = 0;           ///< identity of its history: a copy gets another when it is first written to
    std::uint64_t block_bytes = 0;
    std::uint64_t free_bytes = 0;          ///< in blocks that no region and no table segment takes
    std::uint64_t largest_free_bytes = 0;  ///< the longest run of such blocks
    std::uint32_t regions = 0;
    std::uint32_t region_slots = 0;  ///< slots in the region table; it grows
    pmemstream::granularity granularity = granularity::page;
    bool granularity_forced = false;  ///< by PMEM2_FORCE_GRANULARITY: durability may be less than it says
    /// What makes pages durable for the last writer: `automatic` where both are in use. Nothing where single stores are.
    std::optional<page_sync> synced_by = std::nullopt;
    std::uint64_t epoch = 0;  ///< number of the last writer: one more for each, 64 more for a copy's first
    bool clean = false;       ///< the last writer closed it; false while one is at work
    sequence committed = sequence::none;
    sequence persisted = sequence::none;
};

/// The UUID in the usual form, 36 characters.
[[nodiscard]] PMEMSTREAM_API std::string to_string(const uuid& value);
[[nodiscard]] PMEMSTREAM_API std::string_view to_string(granularity value) noexcept;
[[nodiscard]] PMEMSTREAM_API std::string_view to_string(page_sync value) noexcept;

/// What a region holds, in words of its maker. Fixed when it is allocated; clearing keeps it.
struct region_attributes {
    std::string content_type = {};                                 ///< a media type (RFC 6838), or empty
    std::vector<std::pair<std::string, std::string>> values = {};  ///< keys and values of the user's own

    friend bool operator==(const region_attributes&, const region_attributes&) = default;
};
/// Bytes that a region's name and attributes may take together, with 8 bytes for each attribute.
inline constexpr std::uint64_t region_attributes_bytes_max = std::uint64_t{16} << 10;

/// What the extent of such a region holds beside its entries. A region of `size_bytes` takes both, rounded up to blocks.
[[nodiscard]] PMEMSTREAM_API std::uint64_t region_overhead_bytes(std::string_view name,
                                                                 const region_attributes& attributes = {}) noexcept;

/// A region and how full it is. Of its entries, those before committed_end are committed and those before persisted_end
/// persisted, as is every entry up to stream_info::committed and stream_info::persisted. The region's own sequences
/// are the newest that those entries can have: exact while nobody appends, else as many ahead as were appended while
/// they were looked at.
struct region_info {
    region handle;
    std::string name;                     ///< empty when it has none
    std::uint64_t size_bytes = 0;         ///< what entries, with headers and padding, can take
    std::uint64_t used_bytes = 0;         ///< committed
    offset extent{};                      ///< where its blocks begin
    std::uint64_t extent_bytes = 0;       ///< size_bytes, and what identifies the region: 64 bytes and its head
    offset begin{};                       ///< of the first entry
    offset committed_end{};               ///< commit offset
    offset persisted_end{};               ///< persisted offset
    sequence first = sequence::none;      ///< no entry of the region is older
    sequence committed = sequence::none;  ///< no committed entry of the region is newer; none when it is empty
    sequence persisted = sequence::none;  ///< the same of persisted ones
    std::uint64_t creation_ns = 0;
    std::uint64_t log = 0;  ///< id of the log that it belongs to; a region that was allocated by itself is a log of one
    /// Flags that this library would have to know to read the region. If not 0, follow() answers unsupported_format, and of
    /// sizes and offsets only the extent's mean anything.
    std::uint32_t unknown_flags = 0;

    [[nodiscard]] std::uint64_t free_bytes() const noexcept { return size_bytes - used_bytes; }
};

/// How sleeping and registering work for a reader, and what a writer can offer.
enum class control_state : std::uint8_t {
    attached,  ///< doorbell and slots work
    absent,    ///< no control file that belongs to the stream, or told not to use it: waits poll
    refused,   ///< it cannot be written, or (by a writer) made, or futex or membarrier do not work here: waits poll
    lost,      ///< it was truncated under this process (control_lost): waits poll until the writer makes a new one
};
[[nodiscard]] PMEMSTREAM_API std::string_view to_string(control_state value) noexcept;

/// A stretch of the file and what it holds, for those who draw the file.
struct extent_info {
    enum class use : std::uint8_t { metadata, region, table_segment, free };
    use kind = use::free;
    offset begin{};
    std::uint64_t bytes = 0;
    region handle;  ///< where kind is region
};

}  // namespace pmemstream
