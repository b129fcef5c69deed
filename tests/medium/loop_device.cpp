#include "tests/medium/loop_device.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>

namespace pmemstream::test {

namespace {

[[noreturn]] void give_up(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what + " (loop devices take root)");
}

struct opened {
    explicit opened(const std::string& path, int flags = O_RDWR) : fd(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
        if (fd < 0)
            give_up(path);
    }
    ~opened() { ::close(fd); }
    opened(const opened&) = delete;
    opened& operator=(const opened&) = delete;
    int fd;
};

bool configure(int device, int backing) {
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    return ::ioctl(device, LOOP_CONFIGURE, &config) == 0;
}

}  // namespace

loop_device::loop_device(const std::filesystem::path& backing, std::uint64_t bytes) {
    const opened file(backing, O_RDWR | O_CREAT);
    if (::ftruncate(file.fd, static_cast<off_t>(bytes)) != 0)
        give_up(backing);
    const opened control("/dev/loop-control");
    // Another process may take the one that is free now.
    for (int attempt = 0; attempt < 100; ++attempt) {
        number_ = ::ioctl(control.fd, LOOP_CTL_GET_FREE);
        if (number_ < 0)
            give_up("no free loop device");
        path_ = "/dev/loop" + std::to_string(number_);
        fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
        if (fd_ >= 0 && configure(fd_, file.fd))
            return;
        const int why = errno;
        if (fd_ >= 0)
            ::close(fd_);
        fd_ = -1;
        errno = why;
        if (why != EBUSY)
            give_up(path_);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    give_up("every loop device was taken by somebody else");
}

loop_device::~loop_device() {
    if (fd_ >= 0)
        ::close(fd_);
    std::error_code ignored;
    std::filesystem::remove(path_.string() + ".ctl", ignored);
}

void loop_device::replace(const std::filesystem::path& backing) {
    const opened file(backing);
    ::close(fd_);
    fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    // It is gone as soon as the last who had it open is, which the kernel may take a moment for.
    for (int attempt = 0; fd_ >= 0 && attempt < 1000; ++attempt) {
        if (configure(fd_, file.fd))
            return;
        if (errno != EBUSY)
            break;
        ::close(fd_);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    }
    give_up(path_);
}

}  // namespace pmemstream::test
