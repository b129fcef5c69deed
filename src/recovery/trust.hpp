#pragma once

#include "src/format/layout.hpp"
#include "src/stream/region_table.hpp"
#include "src/stream/stream_file.hpp"

#include <array>
#include <cstdint>

// Which row of the table for opening a stream is in: docs/recovery.md.
namespace pmemstream::core {

/// Who holds the file now, to compare with what the header says.
struct file_identity {
    std::array<std::byte, 16> boot_id{};
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
};

/// Errors: io.
[[nodiscard]] result<file_identity> current_identity(const stream_file& file);

/// The table for opening: one row each.
enum class trust : std::uint8_t {
    clean,  ///< clean_epoch == epoch: commit offsets, which equal the persisted ones
    process_died,  ///< same boot, device and inode, no medium error: commit offsets, and of pages also what verifies behind them
    rescan,  ///< anything else: persisted offsets, then what verifies behind them
};
[[nodiscard]] trust decide_trust(const format::identity_line& identity, const file_identity& now) noexcept;

/// Whether it is the file that the last writer had (or nobody has opened it yet), whatever was booted since. If not, it
/// is a copy, perhaps made in use, which may hold entries of writers that its header does not know yet: an opening ends
/// every region durably, and takes an epoch far above the header's.
[[nodiscard]] bool is_same_file(const format::identity_line& identity, const file_identity& now) noexcept;
inline constexpr std::uint64_t foreign_epochs = 64;

/// What the header says of the last writer. Read once, for its page may leave the memory.
struct last_writer {
    file_identity now;
    trust row = trust::rescan;
    bool same_file = true;
    bool refused = false;        ///< a medium error was noted
    bool pages_suspect = false;  ///< pages that the kernel calls clean may never have reached the medium
};
/// Errors: io.
[[nodiscard]] result<last_writer> look_at_last_writer(const stream_file& file);

/// What decide_trust() cannot see: a copy of which one part was made before a writer opened the stream and the rest
/// after that says that it is clean, and is not. Only of another file than the one that was closed is that believed.
[[nodiscard]] trust reconsider_trust(const stream_file& file, const region_table& table,
                                     const last_writer& last) noexcept;

}  // namespace pmemstream::core
