#pragma once

#include <pmemstream/detail/kill_point.hpp>

#include <atomic>
#include <functional>
#include <utility>
#include <vector>

namespace pmemstream::test {

/// Has `action` done once, the next time that the library comes by `point`, in whatever thread does. Several may stand
/// ready; they are made and destroyed while no other thread is in the library.
class step_in {
public:
    step_in(base::kill_point point, std::function<void()> action) : point_(point), action_(std::move(action)) {
        ready_.push_back(this);
        base::stepping_in = [](base::kill_point here) {
            for (auto* const one : ready_)
                if (here == one->point_ && !one->happened_.exchange(true))
                    one->action_();
        };
    }
    ~step_in() {
        std::erase(ready_, this);
        if (ready_.empty())
            base::stepping_in = nullptr;
    }
    step_in(const step_in&) = delete;
    step_in& operator=(const step_in&) = delete;
    [[nodiscard]] bool happened() const noexcept { return happened_; }

private:
    static inline std::vector<step_in*> ready_;
    base::kill_point point_;
    std::function<void()> action_;
    std::atomic<bool> happened_{false};
};

}  // namespace pmemstream::test
