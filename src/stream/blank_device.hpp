#pragma once

#include "src/base/unique_fd.hpp"

#include <pmemstream/result.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::core {

/// A block device that a stream is to be made on, in exclusive use as long as this lives.
class blank_device {
public:
    /// What file systems, partition tables and volumes are known by lies in so many bytes at either end.
    static constexpr std::uint64_t blank_bytes = std::uint64_t{1} << 20;

    /// Errors: device_busy, no_permission, io.
    [[nodiscard]] static result<blank_device> open(const std::string& name);

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    /// Both ends read as zeros. Errors: already_exists, io.
    [[nodiscard]] result<void> check() const;
    /// Makes it so, durably; a stream that is there is none before anything else is changed. Errors: io.
    [[nodiscard]] result<void> wipe() const;

private:
    struct part {
        std::uint64_t offset;
        std::uint64_t bytes;
    };
    [[nodiscard]] std::vector<part> ends() const;
    [[nodiscard]] result<void> write_zeros(part where) const;

    base::unique_fd fd_;
    std::string name_;
    std::uint64_t bytes_ = 0;
};

}  // namespace pmemstream::core
