#include "src/writer/housekeeper.hpp"

#include <pthread.h>
#include <algorithm>
#include <csignal>
#include <system_error>

namespace pmemstream::core {

housekeeper::housekeeper(std::chrono::milliseconds period, std::function<void(unsigned)> tick)
    : period_(std::min<std::chrono::milliseconds>(period, std::chrono::hours(24 * 365))), tick_(std::move(tick)) {}

int housekeeper::start() noexcept {
#ifdef PMEMSTREAM_TEST_HOOKS
    if (without_threads) {
        threadless.push_back(this);
        return 0;
    }
#endif
    sigset_t all, before;
    sigfillset(&all);
    // Not those that a faulting instruction raises: blocked, they would end the process before the fault guard runs.
    for (const int synchronous : {SIGBUS, SIGSEGV, SIGFPE, SIGILL})
        sigdelset(&all, synchronous);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int code = 0;
    try {
        thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& e) {
        code = e.code().value();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return code;
}

housekeeper::~housekeeper() {
#ifdef PMEMSTREAM_TEST_HOOKS
    std::erase(threadless, this);
#endif
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable())
        thread_.join();
}

void housekeeper::run() {
    std::unique_lock lock(mutex_);
    for (unsigned n = 1; !wake_.wait_for(lock, period_, [this] { return stop_; }); ++n) {
        lock.unlock();
        tick_(n);
        lock.lock();
    }
}

}  // namespace pmemstream::core
