#include "ipc/fork_watch.hpp"

#include "src/base/trouble.hpp"

#include <pthread.h>
#include <unistd.h>
#include <mutex>

namespace pmemstream::ipc {

struct fork_watch_list {
    std::mutex mutex;
    fork_watch* first = nullptr;

    static fork_watch_list& instance() {
        // Never destroyed: a fork may happen while static objects go.
        static auto* list = new fork_watch_list;
        return *list;
    }

    fork_watch_list() { pthread_atfork(before, after_in_parent, after_in_child); }

    // The list is consistent in the child because no thread is inside it while the process forks.
    static void before() { instance().mutex.lock(); }
    static void after_in_parent() { instance().mutex.unlock(); }
    static void after_in_child() {
        for (fork_watch* watch = instance().first; watch != nullptr; watch = watch->next_) {
            base::trouble::set(*watch->trouble_word_, base::trouble::in_child);
            if (watch->count_ != nullptr)
                *watch->count_ = 0;
            if (*watch->fd_ >= 0)
                ::close(*watch->fd_);
            *watch->fd_ = -1;
        }
        instance().mutex.unlock();
    }
};

void fork_watch::lock_forks() noexcept {
    fork_watch_list::instance().mutex.lock();
}

void fork_watch::unlock_forks() noexcept {
    fork_watch_list::instance().mutex.unlock();
}

fork_watch::fork_watch(int* fd, std::uint32_t* trouble_word, std::uint32_t* count) noexcept
    : fd_(fd), trouble_word_(trouble_word), count_(count) {
    auto& list = fork_watch_list::instance();
    const std::lock_guard lock(list.mutex);
    next_ = list.first;
    if (next_ != nullptr)
        next_->previous_ = this;
    list.first = this;
}

fork_watch::~fork_watch() {
    auto& list = fork_watch_list::instance();
    const std::lock_guard lock(list.mutex);
    if (previous_ != nullptr)
        previous_->next_ = next_;
    else
        list.first = next_;
    if (next_ != nullptr)
        next_->previous_ = previous_;
}

}  // namespace pmemstream::ipc
