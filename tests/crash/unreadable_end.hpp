#pragma once

#include "src/base/unique_fd.hpp"
#include "tests/support/child.hpp"
#include "tests/support/file_image.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cstdint>
#include <filesystem>

namespace pmemstream::test {

/// The file's end is away while this lives, and then as it was.
class unreadable_end {
public:
    unreadable_end(const std::filesystem::path& file, std::uint64_t begin)
        : file_(file), image_(read_image(file)), begin_(begin) {
        std::filesystem::resize_file(file, begin);
    }
    ~unreadable_end() {
        const base::unique_fd fd(::open(file_.c_str(), O_RDWR | O_CLOEXEC));
        const auto bytes = static_cast<ssize_t>(image_.size() - begin_);
        if (::pwrite(fd.get(), image_.data() + begin_, image_.size() - begin_, static_cast<off_t>(begin_)) != bytes)
            give_up("the end of the file does not come back");
    }
    unreadable_end(const unreadable_end&) = delete;
    unreadable_end& operator=(const unreadable_end&) = delete;

private:
    std::filesystem::path file_;
    file_image image_;
    std::uint64_t begin_;
};

}  // namespace pmemstream::test
