#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace pmemstream::tools {

/// A line on standard error that is written over five times a second, and only on a terminal.
class progress {
public:
    /// `shown`: false for who has a reason not to, whatever standard error is.
    explicit progress(bool shown = true);
    ~progress() { clear_line(); }
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;

    void update(std::uint64_t entries, std::uint64_t bytes) {
        if (shown_)
            draw(entries, bytes);
    }
    [[nodiscard]] bool shown() const noexcept { return shown_; }

    /// Takes the line away, for another message.
    static void clear_line();

private:
    void draw(std::uint64_t entries, std::uint64_t bytes);

    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point next_ = begin_;
    bool shown_;
};

}  // namespace pmemstream::tools
