#pragma once

#include "src/medium/unforked_range.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace pmemstream::medium {

/// Several syncs of one file under way at once, through io_uring: the device then empties its cache for all of them
/// together, and pages outside the ranges are left alone, which fdatasync does not do.
/// Thread safety: one thread at a time. Of no use in a forked child, where its descriptor is closed.
class sync_ring {
public:
    /// Whether this library was built with liburing.
    static const bool built_in;

    /// `why`: an errno value where the kernel lacks or forbids it (ENOSYS where the library was built without).
    [[nodiscard]] static std::unique_ptr<sync_ring> make(int& why) noexcept;
    ~sync_ring();
    sync_ring(const sync_ring&) = delete;
    sync_ring& operator=(const sync_ring&) = delete;

    struct piece {
        std::uint64_t offset = 0;
        std::uint32_t bytes = 0;  // 0: all of the file
    };
    static constexpr std::size_t pieces_max = 16;

    /// At most pieces_max. Returns when none is under way any more: an errno value (of the first that failed) or 0.
    /// EINTR: the kernel did not come to do all of it, or was interrupted. What was refused is known; ask in another way.
    [[nodiscard]] int sync(int fd, std::span<const piece> pieces) noexcept;
    /// The ring itself failed: what was asked of it is not known, and it is not to be used any more.
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }

private:
    sync_ring() noexcept;
    struct state;
    std::unique_ptr<state> state_;
    unforked_range unforked_;  // goes first: it knows where the descriptor is kept
    bool broken_ = false;
};

}  // namespace pmemstream::medium
