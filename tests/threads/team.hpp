#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace pmemstream::test {

/// Threads whose failures are told when all have ended.
class team {
public:
    void add(std::function<void()> work) {
        threads_.emplace_back([this, work = std::move(work)] {
            try {
                work();
            } catch (const std::exception& e) {
                const std::lock_guard lock(mutex_);
                failures_ += std::string(e.what()) + "\n";
                failed = true;
            }
        });
    }
    [[nodiscard]] std::string join() {
        for (auto& t : threads_)
            t.join();
        threads_.clear();
        return failures_;
    }
    std::atomic<bool> failed{false};

private:
    std::mutex mutex_;
    std::string failures_;
    std::vector<std::thread> threads_;
};

}  // namespace pmemstream::test
