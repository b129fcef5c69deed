#pragma once

#include "tests/crash/enumerator/trace.hpp"

#include <cstdint>
#include <filesystem>
#include <span>

namespace pmemstream::test {

/// A file that is written and looked at through a mapping of the test's own. What is stored by others shows at once.
class mapped_file {
public:
    /// Makes the file.
    mapped_file(std::filesystem::path file, std::uint64_t bytes);
    ~mapped_file();
    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, bytes_}; }
    void write(const image& content);

private:
    std::filesystem::path path_;
    std::byte* data_ = nullptr;
    std::uint64_t bytes_ = 0;
};

}  // namespace pmemstream::test
