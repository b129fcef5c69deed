#include "src/medium/sync_ring.hpp"

#include <liburing.h>
#include <cerrno>

namespace pmemstream::medium {

const bool sync_ring::built_in = true;

struct sync_ring::state {
    io_uring ring{};
    ~state() {
        if (ring.ring_fd > 0)
            ::io_uring_queue_exit(&ring);
    }
};

sync_ring::sync_ring() noexcept : state_(new state) {}
sync_ring::~sync_ring() = default;

std::unique_ptr<sync_ring> sync_ring::make(int& why) noexcept {
    std::unique_ptr<sync_ring> self(new sync_ring);
    auto& ring = self->state_->ring;
    why = -::io_uring_queue_init(pieces_max, &ring, 0);
    if (why != 0) {
        ring.ring_fd = 0;
        return nullptr;
    }
    why = -::io_uring_ring_dontfork(&ring);
    if (why == 0)
        why = self->unforked_.cover(ring.sq.ring_ptr, ring.sq.ring_sz, &ring.ring_fd);
    if (why != 0)
        return nullptr;
    return self;
}

int sync_ring::sync(int fd, std::span<const piece> pieces) noexcept {
    auto& ring = state_->ring;
    for (const auto& piece : pieces) {
        io_uring_sqe* const entry = ::io_uring_get_sqe(&ring);  // there is room: nothing is under way
        ::io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
        entry->off = piece.offset;
        entry->len = piece.bytes;
    }
    int failed = 0;
    std::size_t submitted = 0;
    while (submitted < pieces.size()) {
        const int now = ::io_uring_submit(&ring);
        if (now == -EINTR)
            continue;
        if (now <= 0) {
            // No memory, or forbidden meanwhile. What was not taken stays in the queue and would go out with the next call.
            broken_ = true;
            failed = EINTR;
            break;
        }
        submitted += static_cast<std::size_t>(now);
    }
    for (std::size_t done = 0; done < submitted;) {
        io_uring_cqe* completed = nullptr;
        const int waited = ::io_uring_wait_cqe(&ring, &completed);
        if (waited == -EINTR || waited == -EAGAIN)
            continue;
        if (waited != 0) {
            broken_ = true;
            return failed != 0 && failed != EINTR ? failed : -waited;
        }
        // One that was only interrupted says less than one that was refused.
        if (completed->res < 0 && (failed == 0 || failed == EINTR))
            failed = -completed->res;
        ::io_uring_cqe_seen(&ring, completed);
        ++done;
    }
    return failed;
}

}  // namespace pmemstream::medium
