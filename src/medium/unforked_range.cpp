#include "src/medium/unforked_range.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <mutex>
#include <utility>

namespace pmemstream::medium {

struct unforked_range_list {
    std::mutex mutex;
    unforked_range* first = nullptr;

    static unforked_range_list& instance() {
        // Never destroyed: a fork may happen while static objects go.
        static auto* list = new unforked_range_list;
        return *list;
    }

    unforked_range_list() { pthread_atfork(before, after_in_parent, after_in_child); }

    // The list is consistent in the child because no thread is inside it while the process forks.
    static void before() { instance().mutex.lock(); }
    static void after_in_parent() { instance().mutex.unlock(); }
    static void after_in_child() {
        for (const unforked_range* range = instance().first; range != nullptr; range = range->next_) {
            // Not over what another handler has mapped there; a kernel that does not know the flag takes another place.
            void* const got = ::mmap(range->begin_, range->bytes_, PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
            if (got != MAP_FAILED && got != range->begin_)
                ::munmap(got, range->bytes_);
            if (range->descriptor_ != nullptr)
                ::close(std::exchange(*range->descriptor_, -1));
        }
        instance().mutex.unlock();
    }
};

int unforked_range::cover(void* begin, std::size_t bytes, int* descriptor) noexcept {
    auto& list = unforked_range_list::instance();
    const std::lock_guard lock(list.mutex);
    if (::madvise(begin, bytes, MADV_DONTFORK) != 0)
        return errno;
    begin_ = begin;
    bytes_ = bytes;
    descriptor_ = descriptor;
    next_ = list.first;
    if (next_ != nullptr)
        next_->previous_ = this;
    list.first = this;
    return 0;
}

unforked_range::~unforked_range() {
    if (begin_ == nullptr)
        return;
    auto& list = unforked_range_list::instance();
    const std::lock_guard lock(list.mutex);
    if (previous_ != nullptr)
        previous_->next_ = next_;
    else
        list.first = next_;
    if (next_ != nullptr)
        next_->previous_ = previous_;
}

}  // namespace pmemstream::medium
