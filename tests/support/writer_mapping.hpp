#pragma once

#include "tests/support/eventually.hpp"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace pmemstream::test {

/// The writer's mapping of a stream, as the kernel has it.
class writer_mapping {
public:
    static constexpr std::uint64_t page_bytes = 4096;

    explicit writer_mapping(const std::filesystem::path& file, pid_t pid = ::getpid())
        : folder_("/proc/" + std::to_string(pid)) {
        std::ifstream maps(folder_ + "/smaps");
        const std::string name = " " + std::filesystem::canonical(file).string();
        bool ours = false;
        for (std::string line; std::getline(maps, line);) {
            unsigned long begin = 0, end = 0;
            char permissions[5] = {};
            if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, permissions) == 3) {
                ours = line.ends_with(name) && std::string(permissions) == "rw-s";
                if (ours)
                    begin_ = begin;
            } else if (ours && line.starts_with("VmFlags:")) {
                flags_ = line + " ";
            }
        }
    }
    [[nodiscard]] bool exists() const noexcept { return begin_ != 0; }
    /// Pages of the range that are in the process's page table.
    [[nodiscard]] std::uint64_t present(std::uint64_t offset, std::uint64_t bytes) const {
        std::vector<std::uint64_t> entries(bytes / page_bytes);
        const int fd = ::open((folder_ + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC);
        const auto size = static_cast<ssize_t>(entries.size() * sizeof entries[0]);
        const auto at = static_cast<off_t>((begin_ + offset) / page_bytes * sizeof entries[0]);
        const bool read = ::pread(fd, entries.data(), static_cast<std::size_t>(size), at) == size;
        ::close(fd);
        demand(read, "the page table can be read");
        return static_cast<std::uint64_t>(
            std::count_if(entries.begin(), entries.end(), [](std::uint64_t e) { return (e >> 63) != 0; }));
    }
    [[nodiscard]] bool has_flag(const char* two_letters) const {
        return flags_.find(std::string(" ") + two_letters + " ") != std::string::npos;
    }

private:
    std::string folder_;
    std::uintptr_t begin_ = 0;
    std::string flags_;
};

}  // namespace pmemstream::test
