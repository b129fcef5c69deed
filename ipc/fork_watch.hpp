#pragma once

#include "src/base/fork_hook.hpp"

#include <cstdint>

// What a forked child must not keep. Open-file-description locks live on in a child that holds the descriptor; so a
// child closes it at once, and the object that owned it learns that it is in the wrong process.
namespace pmemstream::ipc {

/// Watches a descriptor for the object that owns it, as long as it lives. In a forked child the descriptor is closed,
/// `*fd` becomes -1, *fault_word gets fault_state::in_child, and *count, where one is given, becomes 0. Whoever opens or
/// closes the descriptor does that inside base::fork_hook::without_forks().
class fork_watch {
public:
    fork_watch(int* fd, std::uint32_t* fault_word, std::uint32_t* count = nullptr) noexcept;
    fork_watch(const fork_watch&) = delete;
    fork_watch& operator=(const fork_watch&) = delete;

private:
    static void in_child(void* of) noexcept;

    int* fd_;
    std::uint32_t* fault_word_;
    std::uint32_t* count_;
    base::fork_hook hook_;
};

}  // namespace pmemstream::ipc
