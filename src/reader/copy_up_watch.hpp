#pragma once

#include "src/stream/stream_file.hpp"

#include <pmemstream/result.hpp>

#include <atomic>
#include <cstdint>
#include <memory>

namespace pmemstream::core {

/// On overlayfs, a file of a lower layer is copied up when a writer opens it, and mappings made before go on showing
/// the lower one, in which nothing moves any more: no word of it can tell. So the path is looked at again now and then.
/// Thread safety: all of it.
class copy_up_watch {
public:
    /// Null on every other file system.
    [[nodiscard]] static std::unique_ptr<copy_up_watch> make_if_needed(const stream_file& file);

    /// True once the path leads to a file that is not, or no longer, what is mapped. Looks four times a second at most.
    [[nodiscard]] bool happened() noexcept;
    /// The error that says so.
    [[nodiscard]] tl::unexpected<error> failure() const;

private:
    explicit copy_up_watch(const stream_file& file) noexcept;
    [[nodiscard]] bool look() const noexcept;

    const stream_file& file_;
    std::atomic<std::int64_t> next_look_ns_;
    std::atomic<bool> happened_{false};
};

}  // namespace pmemstream::core
