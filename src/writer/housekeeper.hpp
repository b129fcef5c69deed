#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pmemstream::core {

#ifdef PMEMSTREAM_TEST_HOOKS
/// Set while no stream is open: no thread is made, so that a test sees one order of stores and no other.
inline bool without_threads = false;
class housekeeper;
/// What would have a thread: a test does its work when it wants it done.
inline std::vector<const housekeeper*> threadless;
#else
inline constexpr bool without_threads = false;
#endif

/// A thread of the writer that does what must not cost the appender anything, every so often. It blocks every
/// signal, so that the program's handlers run on the program's threads.
class housekeeper {
public:
    /// `tick(n)` is called with n = 1, 2, … from start() until this is destroyed, `period` after the last one returned.
    housekeeper(std::chrono::milliseconds period, std::function<void(unsigned)> tick);
    /// For tick() alone: from now on.
    void set_period(std::chrono::milliseconds period) noexcept { period_ = period; }
    /// An errno value, or 0.
    [[nodiscard]] int start() noexcept;
    ~housekeeper();
#ifdef PMEMSTREAM_TEST_HOOKS
    void tick(unsigned n) const {
        tick_(n);
    }
#endif
    housekeeper(const housekeeper&) = delete;
    housekeeper& operator=(const housekeeper&) = delete;

private:
    void run();
    std::chrono::milliseconds period_;  // of the thread, once it runs
    const std::function<void(unsigned)> tick_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace pmemstream::core
