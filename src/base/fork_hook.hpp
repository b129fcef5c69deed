#pragma once

namespace pmemstream::base {

/// What is to be done in every forked child, by whoever owns something that children must not keep. (A child of vfork, or
/// of clone without the atfork handlers, is not covered; one that calls exec is, by O_CLOEXEC.)
class fork_hook {
public:
    using action = void (*)(void* of) noexcept;

    /// Runs `what` while no other thread of this process can fork. Not to be called inside itself.
    template <class What>
    static void without_forks(What what) {
        lock_forks();
        what();
        unlock_forks();
    }

    fork_hook() noexcept = default;
    ~fork_hook();
    fork_hook(const fork_hook&) = delete;
    fork_hook& operator=(const fork_hook&) = delete;

    /// In children that are forked from now on, as long as this lives, `in_child(of)` runs before fork() returns. Once,
    /// and only inside without_forks().
    void join(action in_child, void* of) noexcept;

private:
    static void lock_forks() noexcept;
    static void unlock_forks() noexcept;
    friend struct fork_hook_list;

    action in_child_ = nullptr;  // null: in no list
    void* of_ = nullptr;
    fork_hook* next_ = nullptr;
    fork_hook* previous_ = nullptr;
};

}  // namespace pmemstream::base
