#include "src/stream/blank_device.hpp"

#include "src/base/backing.hpp"
#include "src/base/failure.hpp"
#include "src/format/layout.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

namespace pmemstream::core {

using base::failure;
using base::system_failure;

result<blank_device> blank_device::open(const std::string& name) {
    blank_device self;
    self.name_ = name;
    self.fd_ = base::unique_fd(::open(name.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
    if (!self.fd_ && errno == EBUSY)
        return failure(errc::device_busy,
                       "{}: the device is in use: mounted, part of another device, or written to; nothing was changed",
                       name);
    if (!self.fd_)
        return system_failure(errno, "{}: opening the device", name);
    struct stat st {};
    base::backing backing;
    int code = ::fstat(self.fd(), &st) != 0 ? errno : base::look_at_backing(self.fd(), st, backing);
    if (code == 0 && !backing.is_device)
        code = ENOTBLK;
    if (code != 0)
        return system_failure(code, "{}: asking for the size of the device", name);
    self.bytes_ = backing.bytes;
    return self;
}

std::vector<blank_device::part> blank_device::ends() const {
    const std::uint64_t each = std::min(blank_bytes, bytes_);
    return {{0, each}, {bytes_ - each, each}};
}

result<void> blank_device::check() const {
    std::vector<std::byte> buffer(std::size_t{64} << 10);
    for (const auto& part : ends()) {
        for (std::uint64_t at = part.offset; at < part.offset + part.bytes;) {
            const auto wanted = std::min<std::uint64_t>(buffer.size(), part.offset + part.bytes - at);
            const ssize_t got = ::pread(fd(), buffer.data(), wanted, static_cast<off_t>(at));
            if (got <= 0)
                return system_failure(got == 0 ? EIO : errno, "{}: reading the device at offset {}", name_, at);
            const auto end = buffer.begin() + got;
            const auto something = std::find_if(buffer.begin(), end, [](std::byte b) { return b != std::byte{0}; });
            if (something != end)
                return failure(errc::already_exists,
                               "{}: the device holds something (at offset {}, for one); nothing was changed. Overwrite "
                               "it explicitly if that is not needed any more",
                               name_, at + static_cast<std::uint64_t>(something - buffer.begin()));
            at += static_cast<std::uint64_t>(got);
        }
    }
    return {};
}

result<void> blank_device::wipe() const {
    // The first sector goes first, and durably: nothing that is half zeros passes for the stream that was there.
    if (auto done = write_zeros({0, std::min<std::uint64_t>(format::sector_bytes, bytes_)}); !done)
        return done;
    for (const auto& part : ends())
        if (auto done = write_zeros(part); !done)
            return done;
    return {};
}

result<void> blank_device::write_zeros(part where) const {
    const std::vector<std::byte> zeros(std::min<std::uint64_t>(where.bytes, std::uint64_t{64} << 10));
    for (std::uint64_t done = 0; done < where.bytes;) {
        const auto wanted = std::min<std::uint64_t>(zeros.size(), where.bytes - done);
        const ssize_t put = ::pwrite(fd(), zeros.data(), wanted, static_cast<off_t>(where.offset + done));
        if (put <= 0)
            return system_failure(put == 0 ? EIO : errno, "{}: writing zeros to the device at offset {}", name_,
                                  where.offset + done);
        done += static_cast<std::uint64_t>(put);
    }
    if (::fdatasync(fd()) != 0)
        return system_failure(errno, "{}: making zeros on the device durable", name_);
    return {};
}

}  // namespace pmemstream::core
