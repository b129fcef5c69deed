#include "src/base/fork_hook.hpp"

#include <pthread.h>
#include <mutex>

namespace pmemstream::base {

struct fork_hook_list {
    std::mutex mutex;
    fork_hook* first = nullptr;

    static fork_hook_list& instance() {
        // Never destroyed: a fork may happen while static objects go.
        static auto* list = new fork_hook_list;
        return *list;
    }

    fork_hook_list() { pthread_atfork(before, after_in_parent, after_in_child); }

    // The list is consistent in the child because no thread is inside it while the process forks.
    static void before() { instance().mutex.lock(); }
    static void after_in_parent() { instance().mutex.unlock(); }
    static void after_in_child() {
        for (const fork_hook* hook = instance().first; hook != nullptr; hook = hook->next_)
            hook->in_child_(hook->of_);
        instance().mutex.unlock();
    }
};

void fork_hook::lock_forks() noexcept {
    fork_hook_list::instance().mutex.lock();
}

void fork_hook::unlock_forks() noexcept {
    fork_hook_list::instance().mutex.unlock();
}

void fork_hook::join(action in_child, void* of) noexcept {
    auto& list = fork_hook_list::instance();
    in_child_ = in_child;
    of_ = of;
    next_ = list.first;
    if (next_ != nullptr)
        next_->previous_ = this;
    list.first = this;
}

fork_hook::~fork_hook() {
    if (in_child_ == nullptr)
        return;
    without_forks([this] {
        if (previous_ != nullptr)
            previous_->next_ = next_;
        else
            fork_hook_list::instance().first = next_;
        if (next_ != nullptr)
            next_->previous_ = previous_;
    });
}

}  // namespace pmemstream::base
