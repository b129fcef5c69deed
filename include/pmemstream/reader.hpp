#pragma once

#include <pmemstream/cursor.hpp>
#include <pmemstream/export.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>
#include <pmemstream/types.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pmemstream {

struct reader_options {
    /// Shown by `pmemstream-inspect readers`; up to 47 bytes. Empty: the name of the program.
    std::string name = {};
    /// Do not touch the control file: cursors are not registered, waits spin and poll.
    bool without_control = false;
    bool allow_network_filesystem = false;
};

/// The writer as a reader sees it.
struct writer_status {
    bool alive = false;      ///< the writer lock is held now
    bool restarted = false;  ///< another writer opened the stream since this reader did
    std::uint64_t epoch = 0;
    std::uint32_t pid = 0;  ///< a hint from the header: of the last writer, in its own pid namespace
};

/// A cursor that registered itself in the control file.
struct registered_reader {
    std::uint32_t slot = 0;
    std::uint32_t pid = 0;  ///< in its own pid namespace
    std::string name;
    bool alive = false;  ///< the kernel holds its lock; a dead one's slot is taken over when needed
    bool all_regions = false;
    region where;                ///< unless all_regions
    std::uint64_t position = 0;  ///< offset in the file; for all_regions the last sequence it was given
    pmemstream::horizon horizon = pmemstream::horizon::committed;
    bool asleep = false;  ///< a hint
};

/// Follows a stream read-only: opens with O_RDONLY, maps with PROT_READ, never recovers, costs the writer nothing.
/// Cheap to copy (copies share the mapping). Cursors keep the mapping alive by themselves.
/// Thread safety: const functions from any thread; each cursor is one thread's.
class PMEMSTREAM_API reader {
public:
    /// Errors: not_found, no_permission, not_a_file, not_a_stream, unsupported_format, truncated, corrupt,
    /// unsupported_filesystem, io.
    [[nodiscard]] static result<reader> open(const std::filesystem::path& file, const reader_options& options = {});

    [[nodiscard]] stream_info info() const;             ///< of a mapping that lost a part, only what never changes
    [[nodiscard]] sequence committed() const noexcept;  ///< stream-wide
    [[nodiscard]] sequence persisted() const noexcept;  ///< stream-wide

    [[nodiscard]] result<region> find(std::string_view name) const;  ///< Errors: not_found, corrupt.
    [[nodiscard]] result<region_info> describe(region where) const;  ///< Errors: region_gone, corrupt.
    /// What it was allocated with. Errors: region_gone, corrupt (the region's head), unsupported_format.
    [[nodiscard]] result<region_attributes> attributes(region where) const;
    /// In order of allocation; clearing counts as one, for the generation is new. Errors: corrupt (a damaged slot; the
    /// others can still be found by name).
    [[nodiscard]] result<std::vector<region_info>> regions() const;
    /// The whole file in order of offset. Errors: corrupt.
    [[nodiscard]] result<std::vector<extent_info>> extents() const;

    /// A cursor over one region. Errors: region_gone, corrupt, invalid_offset (with start_at an offset).
    [[nodiscard]] result<cursor> follow(region where, const cursor_options& options = {}) const;
    /// A cursor over all regions, those allocated later included, in sequence order. Errors: corrupt,
    /// invalid_argument (start_at an offset).
    [[nodiscard]] result<merged_cursor> follow_all(const cursor_options& options = {}) const;

    [[nodiscard]] writer_status writer() const noexcept;
    [[nodiscard]] control_state control() const noexcept;
    /// Cursors registered in the control file, this process' included; empty without one. Errors: control_lost (it was
    /// truncated, and no writer has made another yet), no_permission, io.
    [[nodiscard]] result<std::vector<registered_reader>> registered() const;

    /// Takes a shared lock on the stream's file: while it is held, no *new* writer can open the stream (it gets
    /// blocked_by_reader). Errors: writer_busy (one is at work, which this cannot touch), io.
    [[nodiscard]] result<std::shared_ptr<void>> block_writers() const;

    struct PMEMSTREAM_HIDDEN impl;  // not for users; complete only inside the library

private:
    explicit reader(std::shared_ptr<impl> state) noexcept : impl_(std::move(state)) {}
    std::shared_ptr<impl> impl_;
};

}  // namespace pmemstream
