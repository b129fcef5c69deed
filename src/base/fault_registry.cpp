#include "src/base/fault_registry.hpp"

#include <pmemstream/fault_guard.hpp>

#include "src/base/failure.hpp"
#include "src/base/fault_state.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

namespace pmemstream::base {

namespace {

// Fixed and lock-free, because a signal handler walks it. A mapping that finds no place is merely unguarded.
struct place {
    std::atomic<bool> taken{false};
    std::atomic<std::uintptr_t> begin{0};  // 0: not (any more) to be looked at
    std::uintptr_t end = 0;
    std::uint32_t* fault_word = nullptr;
    bool writable = false;
};
constexpr int places_max = 1024;
place places[places_max];

struct sigaction previous;

void on_sigbus(int signal, siginfo_t* info, void* context) {
    const int saved_errno = errno;
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (auto& p : places) {
        if (info->si_code <= 0)
            break;  // sent by somebody, not raised by an access
        const std::uintptr_t begin = p.begin.load(std::memory_order_acquire);
        if (begin == 0 || address < begin || address >= p.end)
            continue;
        const auto page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        const std::uintptr_t page = address & ~(page_bytes - 1);
        // The rest of the mapping too: a truncated file has lost all of it, and one fault is enough.
        // The word first: who reads the zeros must not find that all is well.
        fault_state::set(*p.fault_word, fault_state::faulted);
        void* got = ::mmap(reinterpret_cast<void*>(page), p.end - page, p.writable ? PROT_READ | PROT_WRITE : PROT_READ,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED)
            break;
        errno = saved_errno;
        return;
    }
    errno = saved_errno;
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        // The faulting instruction runs again and meets the default action.
        ::signal(SIGBUS, SIG_DFL);
    }
}

}  // namespace

guarded_range::guarded_range(void* begin, std::size_t bytes, bool writable, std::uint32_t* fault_word) noexcept {
    for (int i = 0; i < places_max; ++i) {
        auto& p = places[i];
        if (p.taken.exchange(true, std::memory_order_acquire))
            continue;
        p.end = reinterpret_cast<std::uintptr_t>(begin) + bytes;
        p.fault_word = fault_word;
        p.writable = writable;
        p.begin.store(reinterpret_cast<std::uintptr_t>(begin), std::memory_order_release);
        place_ = i;
        return;
    }
}

guarded_range::guarded_range(guarded_range&& other) noexcept : place_(std::exchange(other.place_, -1)) {}

guarded_range& guarded_range::operator=(guarded_range&& other) noexcept {
    if (this != &other) {
        drop();
        place_ = std::exchange(other.place_, -1);
    }
    return *this;
}

guarded_range::~guarded_range() {
    drop();
}

void guarded_range::drop() noexcept {
    if (place_ < 0)
        return;
    places[place_].begin.store(0, std::memory_order_release);
    places[place_].taken.store(false, std::memory_order_release);
    place_ = -1;
}

int install_fault_handler() noexcept {
    static std::mutex mutex;
    static bool installed = false;
    const std::lock_guard lock(mutex);
    if (installed)
        return 0;
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    if (::sigaction(SIGBUS, &action, &previous) != 0)
        return errno;
    installed = true;
    return 0;
}

}  // namespace pmemstream::base

namespace pmemstream {

result<void> install_fault_guard() noexcept {
    if (const int error = base::install_fault_handler(); error != 0)
        return base::system_failure(error, "installing the handler for SIGBUS");
    return {};
}

}  // namespace pmemstream
