#include "tests/crash/fuse/private_mounts.hpp"

#include "src/base/unique_fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include <cerrno>
#include <string>
#include <system_error>

namespace pmemstream::test {

namespace {

[[noreturn]] void fail(const char* step) {
    throw std::system_error(errno, std::generic_category(), step);
}

void write_whole(const char* file, const std::string& text) {
    const base::unique_fd fd(::open(file, O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        fail(file);
}

/// Who may not have mounts of their own becomes root of a user namespace, who may.
void enter_namespaces() {
    const auto user = ::geteuid();
    const auto group = ::getegid();
    if (::unshare(CLONE_NEWNS) == 0)
        return;
    if (errno != EPERM)
        fail("a mount namespace");
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        fail("a mount namespace, which takes root or user namespaces (sysctl kernel.unprivileged_userns_clone)");
    write_whole("/proc/self/setgroups", "deny");
    write_whole("/proc/self/uid_map", fmt::format("0 {} 1", user));
    write_whole("/proc/self/gid_map", fmt::format("0 {} 1", group));
}

}  // namespace

void take_private_mounts() {
    enter_namespaces();
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        fail("making mounts private");
    if (::mount("none", "/dev/shm", "tmpfs", 0, nullptr) != 0)
        fail("mounting memory at /dev/shm");
}

}  // namespace pmemstream::test
