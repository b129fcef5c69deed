#include "tests/medium/place.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <system_error>

namespace pmemstream::test {

namespace {

[[noreturn]] void give_up(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void copy_bytes(int from, int to, std::uint64_t bytes, const std::string& name) {
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    for (std::uint64_t at = 0; at < bytes;) {
        const ssize_t got = from < 0 ? static_cast<ssize_t>(std::min<std::uint64_t>(buffer.size(), bytes - at))
                                     : ::pread(from, buffer.data(), buffer.size(), static_cast<off_t>(at));
        if (got <= 0 || ::pwrite(to, buffer.data(), static_cast<std::size_t>(got), static_cast<off_t>(at)) != got)
            give_up(name);
        at += static_cast<std::uint64_t>(got);
    }
}

}  // namespace

place& place::chosen() {
    static place one;
    return one;
}

room::room() {
    const auto& where = place::chosen();
    if (!where.is_device)
        dir_ = std::make_unique<temp_dir>(where.path);
    else if (!where.loop_backing.empty())
        dir_ = std::make_unique<temp_dir>(where.loop_backing.parent_path());
    else
        dir_ = std::make_unique<temp_dir>();
    path_ = where.is_device ? where.path : *dir_ / "stream";
}

int room::open_zeros() const {
    const bool is_device = place::chosen().is_device;
    const int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC | (is_device ? 0 : O_CREAT), 0600);
    if (fd < 0)
        give_up(path_);
    if (is_device)
        copy_bytes(-1, fd, bytes, path_);
    else if (const int code = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes)); code != 0)
        errno = code, give_up(path_);
    if (::fsync(fd) != 0)
        give_up(path_);
    return fd;
}

std::filesystem::path room::copy() const {
    const auto to = *dir_ / "copy";
    const int from = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    const int made = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || made < 0)
        give_up(to);
    copy_bytes(from, made, bytes, to);
    ::close(from);
    ::close(made);
    return to;
}

std::uint64_t dirty_bytes(const std::byte* begin, std::size_t bytes) {
    const auto first = reinterpret_cast<std::uintptr_t>(begin);
    std::ifstream in("/proc/self/smaps");
    std::uint64_t kib = 0;
    bool inside = false;
    for (std::string line; std::getline(in, line);) {
        unsigned long long from = 0, to = 0;
        if (std::sscanf(line.c_str(), "%llx-%llx ", &from, &to) == 2)
            inside = from < first + bytes && to > first;
        else if (inside && (line.starts_with("Private_Dirty:") || line.starts_with("Shared_Dirty:")))
            kib += std::stoull(line.substr(line.find(':') + 1));
    }
    return kib * 1024;
}

}  // namespace pmemstream::test
