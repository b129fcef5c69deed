#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace example {

/// CLOCK_MONOTONIC, which is the same for all processes of a machine.
inline std::uint64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

/// When each entry was appended, or seen: one 8-byte time per entry in a file made beforehand. Mapped, so that noting a
/// time makes no system call and survives a SIGKILL. Without a file it notes nothing.
class time_file {
public:
    explicit time_file(const std::string& file) {
        if (file.empty())
            return;
        const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
        struct stat status {};
        if (fd < 0 || ::fstat(fd, &status) != 0)
            fail(file);
        count_ = static_cast<std::size_t>(status.st_size) / sizeof(std::uint64_t);
        if (count_ == 0)
            return;
        // MAP_POPULATE: a page fault is no part of what is measured.
        void* mapped =
            ::mmap(nullptr, count_ * sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        if (mapped == MAP_FAILED)
            fail(file);
        times_ = static_cast<std::uint64_t*>(mapped);
        ::close(fd);
    }
    time_file(const time_file&) = delete;
    time_file& operator=(const time_file&) = delete;

    [[nodiscard]] bool wanted(std::size_t entry) const noexcept { return entry < count_; }
    void note(std::size_t entry) noexcept {
        if (wanted(entry))
            times_[entry] = now_ns();
    }

private:
    [[noreturn]] static void fail(const std::string& file) {
        std::fprintf(stderr, "%s: %s\n", file.c_str(), std::strerror(errno));
        std::exit(1);
    }
    std::uint64_t* times_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace example
