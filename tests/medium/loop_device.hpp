#pragma once

#include <cstdint>
#include <filesystem>

namespace pmemstream::test {

/// A loop device over a file: a real block device of the kernel's. It goes by itself when nobody has it open any more,
/// whatever happens to the test. Needs root.
class loop_device {
public:
    /// Over `backing`, which is made, full of zeros, if it is not there.
    loop_device(const std::filesystem::path& backing, std::uint64_t bytes);
    ~loop_device();
    loop_device(const loop_device&) = delete;
    loop_device& operator=(const loop_device&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    /// Takes the backing file away and gives it back, or another: for the kernel another device of the same number.
    /// Nobody else may have it open.
    void replace(const std::filesystem::path& backing);

private:
    std::filesystem::path path_;
    int number_ = -1;
    int fd_ = -1;
};

}  // namespace pmemstream::test
