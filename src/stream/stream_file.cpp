#include "src/stream/stream_file.hpp"

#include "src/base/failure.hpp"
#include "src/base/fault_state.hpp"
#include "src/base/mapped.hpp"
#include "src/format/features.hpp"
#include "src/format/validate.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <chrono>

namespace pmemstream::core {

using base::failure;
using base::system_failure;

result<void> check_filesystem(int fd, const std::string& file, bool allow_network_filesystem) {
    struct known {
        std::uint32_t magic;
        const char* name;
    };
    // statfs(2); the constants are not all in the kernel's headers for user space.
    static constexpr known refused[] = {
        {0x6969, "NFS"}, {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"}, {0x517b, "SMB"}, {0x01021997, "9p"}};
    struct statfs fs {};
    if (::fstatfs(fd, &fs) != 0)
        return system_failure(errno, "{}: asking for its file system", file);
    for (const auto& entry : refused)
        if (static_cast<std::uint32_t>(fs.f_type) == entry.magic && !allow_network_filesystem)
            return failure(
                errc::unsupported_filesystem,
                "{}: lies on {}, where stores of one machine do not reach mappings on another; allow network "
                "file systems if only this machine uses it",
                file, entry.name);
    return {};
}

result<std::shared_ptr<stream_file>> stream_file::open(const std::filesystem::path& file, medium::access mode,
                                                       bool allow_network_filesystem, page_sync sync_by) {
    std::shared_ptr<stream_file> self(new stream_file);
    self->name_ = file.string();
    const std::string& name = self->name_;
    const bool write = mode == medium::access::write;
    // O_NONBLOCK: a FIFO of that name must not hang the caller.
    self->fd_ = base::unique_fd(::open(name.c_str(), (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!self->fd_)
        return system_failure(errno, "{}: opening the stream", name);
    struct stat st {};
    if (::fstat(self->fd(), &st) != 0)
        return system_failure(errno, "{}: looking at it", name);
    if (const int code = base::look_at_backing(self->fd(), st, self->backing_); code == ENOTSUP)
        return failure(errc::not_a_file, "{}: a {}, not a file or a block device that can hold a stream", name,
                       base::kind_of_file(st));
    else if (code != 0)
        return system_failure(code, "{}: asking for the size of the device", name);
    if (!self->backing_.is_device)
        if (auto fine = check_filesystem(self->fd(), name, allow_network_filesystem); !fine)
            return tl::unexpected(std::move(fine.error()));
    std::error_code unknown;
    const auto real = std::filesystem::canonical(file, unknown);
    self->path_ = unknown ? std::filesystem::absolute(file, unknown).string() : real.string();
    self->owner_ = st.st_uid;
    self->group_ = st.st_gid;
    self->file_mode_ = st.st_mode & 07777;
    self->device_ = st.st_dev;
    self->inode_ = st.st_ino;
    const std::uint64_t file_bytes = self->backing_.bytes;

    // Read, not mapped, until the sizes are known to be right: a mapping beyond the end of a file faults.
    std::array<std::byte, format::sector_bytes> sector{};
    const ssize_t got = ::pread(self->fd(), sector.data(), sector.size(), format::superblock_offset);
    if (got < 0)
        return system_failure(errno, "{}: reading the superblock", name);
    auto checked = format::check_superblock({sector.data(), static_cast<std::size_t>(got)}, file_bytes, name);
    if (!checked)
        return tl::unexpected(std::move(checked.error()));
    self->superblock_ = *checked;
    format::shared_header header{};
    if (::pread(self->fd(), &header, sizeof header, format::header_offset) != static_cast<ssize_t>(sizeof header))
        return system_failure(errno, "{}: reading the header", name);
    // [P24] What the stream needs of a program is known before anything else in it is looked at. Pairs with [P23] in
    //       opening.cpp.
    const auto features = format::read_features(header.features, name);
    if (!features)
        return tl::unexpected(features.error());
    if (auto fine = format::check_features(*features, write, name); !fine)
        return tl::unexpected(std::move(fine.error()));
    if (auto fine = format::check_epochs(header.identity, name); !fine)
        return tl::unexpected(std::move(fine.error()));
    auto stream_bytes = format::check_stream_bytes(header.features.stream_bytes, self->superblock_, file_bytes, name);
    if (!stream_bytes)
        return tl::unexpected(std::move(stream_bytes.error()));

    auto mapping = medium::mapping::map(self->fd(), *stream_bytes, mode, name, sync_by);
    if (!mapping)
        return tl::unexpected(std::move(mapping.error()));
    self->mapping_ = std::move(*mapping);
    return self;
}

bool stream_file::is_cut_short() noexcept {
    constexpr std::chrono::nanoseconds distance = std::chrono::milliseconds(250);
    const std::int64_t now = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
    std::int64_t due = next_look_ns_.load(std::memory_order_relaxed);
    struct stat st {};
    if (backing_.is_device || now < due || !next_look_ns_.compare_exchange_strong(due, now + distance.count()) ||
        ::fstat(fd(), &st) != 0 || static_cast<std::uint64_t>(st.st_size) >= stream_bytes())
        return false;
    base::fault_state::set(mapping_->fault_state(), base::fault_state::faulted);
    return true;
}

void stream_file::store_zeros(std::uint64_t offset, std::size_t bytes) const noexcept {
    static constexpr std::array<std::byte, 64> zeros{};
    struct stat st {};
    if (!backing_.is_device && (::fstat(fd(), &st) != 0 || static_cast<std::uint64_t>(st.st_size) < offset + bytes))
        return;
    (void)::pwrite(fd(), zeros.data(), std::min(bytes, zeros.size()), static_cast<off_t>(offset));
}

tl::unexpected<error> stream_file::lost() const {
    return failure(errc::io, "{}: part of the mapping is lost (the file was truncated, or the medium failed)", name_);
}

}  // namespace pmemstream::core
