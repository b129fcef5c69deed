#pragma once

#include <cstdint>

// What a forked child must not keep. Open-file-description locks live on in a child that holds the descriptor; so a
// child closes it at once, and the object that owned it learns that it is in the wrong process.
namespace pmemstream::ipc {

/// Watches a descriptor for the object that owns it, as long as it lives. In a forked child the descriptor is closed,
/// `*fd` becomes -1, *trouble_word gets trouble::in_child, and *count, where one is given, becomes 0. (A child of
/// vfork, or of clone without the atfork handlers, is not covered; one that calls exec is, by O_CLOEXEC.)
class fork_watch {
public:
    /// Runs `action` while no other thread of this process can fork: for opening what is watched, and for closing it.
    template <class Action>
    static void without_forks(Action action) {
        lock_forks();
        action();
        unlock_forks();
    }

    fork_watch(int* fd, std::uint32_t* trouble_word, std::uint32_t* count = nullptr) noexcept;
    ~fork_watch();
    fork_watch(const fork_watch&) = delete;
    fork_watch& operator=(const fork_watch&) = delete;

private:
    static void lock_forks() noexcept;
    static void unlock_forks() noexcept;
    friend struct fork_watch_list;
    int* fd_;
    std::uint32_t* trouble_word_;
    std::uint32_t* count_;
    fork_watch* next_ = nullptr;
    fork_watch* previous_ = nullptr;
};

}  // namespace pmemstream::ipc
