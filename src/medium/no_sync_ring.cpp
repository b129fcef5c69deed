// In the place of sync_ring.cpp where the library is built without liburing.
#include "src/medium/sync_ring.hpp"

#include <cerrno>

namespace pmemstream::medium {

const bool sync_ring::built_in = false;

struct sync_ring::state {};

sync_ring::sync_ring() noexcept = default;
sync_ring::~sync_ring() = default;

std::unique_ptr<sync_ring> sync_ring::make(int& why) noexcept {
    why = ENOSYS;
    return nullptr;
}

int sync_ring::sync(int, std::span<const piece>) noexcept {
    return ENOSYS;
}

}  // namespace pmemstream::medium
