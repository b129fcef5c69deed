#pragma once

#include "src/medium/byte_range.hpp"
#include "src/medium/sync_ring.hpp"

#include <pmemstream/types.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>

namespace pmemstream::medium {

/// What is known of the rest of the file when some ranges of it are synced.
enum class elsewhere : std::uint8_t {
    clean,  ///< little or nothing is dirty there
    dirty,  ///< much may be, which nobody waits for
};

/// How ranges of a mapped file's pages are made durable. Thread safety: sync().
class page_syncer {
public:
    /// Before the first sync; until then, and without it, system calls. Returns an errno value where io_uring alone is
    /// wanted and cannot be had, or 0.
    [[nodiscard]] int prepare(page_sync wanted) noexcept;
    /// `automatic`: both.
    [[nodiscard]] page_sync used() const noexcept { return used_; }

    /// Returns an errno value or 0.
    [[nodiscard]] int sync(std::byte* data, int fd, std::span<const byte_range> ranges, elsewhere rest) noexcept;

private:
    [[nodiscard]] int sync_through_ring(int fd, std::span<const byte_range> ranges, elsewhere rest) noexcept;

    page_sync used_ = page_sync::system_calls;
    std::unique_ptr<sync_ring> ring_;
    std::mutex ring_mutex_;
};

}  // namespace pmemstream::medium
