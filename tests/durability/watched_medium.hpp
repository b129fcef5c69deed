#pragma once

#include "src/medium/seam.hpp"
#include "tests/support/file_image.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace pmemstream::test {

/// Watches the first mapping of which something is made durable: counts what reaches the medium, lets it fail, and keeps
/// the image that a loss of power would leave if nothing else had reached it: what was synced, and nothing that was not.
class watched_medium : public medium::observer {
public:
    explicit watched_medium(const std::filesystem::path& file) : image_(read_image(file)) { medium::observing = this; }
    ~watched_medium() override { medium::observing = nullptr; }

    std::atomic<unsigned> syncs{0};
    std::atomic<unsigned> drains{0};  // of the thread that made this
    std::atomic<int> refuse_with{0};  // an errno value
    std::function<void()> meanwhile;  // runs in every sync; set before anybody syncs

    int sync(const medium::mapping& of, std::span<const medium::mapping::range> ranges) override {
        if (!is_mine(of))
            return 0;
        ++syncs;
        if (meanwhile)
            meanwhile();
        if (refuse_with != 0)
            return refuse_with;
        const std::lock_guard lock(mutex_);
        for (const auto& range : ranges)
            std::memcpy(image_.data() + range.offset, of.data() + range.offset, range.bytes);
        return 0;
    }
    void flush(const medium::mapping& of, std::uint64_t offset, std::uint64_t bytes) override {
        if (!is_mine(of))
            return;
        const std::lock_guard lock(mutex_);
        flushed_[std::this_thread::get_id()].push_back({offset, bytes});
    }
    void drain(const medium::mapping& of) override {
        if (!is_mine(of))
            return;
        drains += std::this_thread::get_id() == maker_;
        const std::lock_guard lock(mutex_);
        // A fence waits for its own thread's flushes. Of another's the bytes may not even have been stored: it is told of a
        // copy past the caches before that is made.
        auto& flushed = flushed_[std::this_thread::get_id()];
        for (const auto& range : flushed)
            std::memcpy(image_.data() + range.offset, of.data() + range.offset, range.bytes);
        flushed.clear();
    }

    /// The file after the loss, under another name and so, for the library, another file.
    void lose_power(const std::filesystem::path& to) const {
        const std::lock_guard lock(mutex_);
        write_image(to, image_);
    }

private:
    bool is_mine(const medium::mapping& of) {
        const medium::mapping* nobody = nullptr;
        return mine_.compare_exchange_strong(nobody, &of) || nobody == &of;
    }

    std::atomic<const medium::mapping*> mine_{nullptr};
    mutable std::mutex mutex_;
    file_image image_;
    std::map<std::thread::id, std::vector<medium::mapping::range>> flushed_;
    std::thread::id maker_ = std::this_thread::get_id();
};

}  // namespace pmemstream::test
