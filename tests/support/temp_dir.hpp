#pragma once

#include <filesystem>
#include <string>

namespace pmemstream::test {

/// A directory of its own, removed with everything in it at the end.
class temp_dir {
public:
    temp_dir();
    /// Below this directory instead of the default.
    explicit temp_dir(const std::filesystem::path& parent);
    ~temp_dir();
    temp_dir(const temp_dir&) = delete;
    temp_dir& operator=(const temp_dir&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

}  // namespace pmemstream::test
