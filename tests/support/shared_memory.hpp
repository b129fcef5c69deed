#pragma once

#include <sys/mman.h>
#include <cerrno>
#include <new>
#include <system_error>
#include <type_traits>

namespace pmemstream::test {

/// A T that this process shares with those it forks from now on. A thread that may make no system call, and a process
/// that is about to be killed, leave their results here.
template <class T>
class shared_memory {
    static_assert(std::is_trivially_destructible_v<T>);

public:
    shared_memory() {
        void* got = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (got == MAP_FAILED)
            throw std::system_error(errno, std::generic_category(), "mapping shared memory");
        value_ = new (got) T();
    }
    ~shared_memory() { ::munmap(value_, sizeof(T)); }
    shared_memory(const shared_memory&) = delete;
    shared_memory& operator=(const shared_memory&) = delete;

    T& operator*() const noexcept { return *value_; }
    T* operator->() const noexcept { return value_; }

private:
    T* value_;
};

}  // namespace pmemstream::test
