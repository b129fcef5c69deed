#include "ipc/fork_watch.hpp"

#include "src/base/fault_state.hpp"

#include <unistd.h>
#include <utility>

namespace pmemstream::ipc {

fork_watch::fork_watch(int* fd, std::uint32_t* fault_word, std::uint32_t* count) noexcept
    : fd_(fd), fault_word_(fault_word), count_(count) {
    base::fork_hook::without_forks([this] { hook_.join(in_child, this); });
}

void fork_watch::in_child(void* of) noexcept {
    auto& self = *static_cast<fork_watch*>(of);
    base::fault_state::set(*self.fault_word_, base::fault_state::in_child);
    if (self.count_ != nullptr)
        *self.count_ = 0;
    if (const int fd = std::exchange(*self.fd_, -1); fd >= 0)
        ::close(fd);
}

}  // namespace pmemstream::ipc
