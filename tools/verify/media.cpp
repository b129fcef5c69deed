#include "tools/verify/media.hpp"

#include "src/base/crc32c.hpp"
#include "tools/common/exit_code.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <system_error>

namespace pmemstream::tools {

namespace {

constexpr std::size_t scratch_bytes = 1 << 20;

[[noreturn]] void refuse(int system_error, const std::string& name) {
    fail(exit_code::io, "{}: {}", name, std::generic_category().message(system_error));
}

/// The boot id as the header keeps it; zeros, which no boot has, where the system does not tell.
std::array<std::byte, 16> current_boot_id() {
    std::array<std::byte, 16> id{};
    std::array<char, 36> text{};
    const base::unique_fd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    if (!fd || ::read(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return id;
    std::size_t digits = 0;
    for (const char c : text) {
        const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value < 0 || digits == 2 * id.size())
            continue;
        auto& byte = id[digits++ / 2];
        byte = static_cast<std::byte>(std::to_integer<int>(byte) << 4 | value);
    }
    return id;
}

}  // namespace

media::media(const std::filesystem::path& file) : name_(file.string()) {
    // O_NONBLOCK: a FIFO of that name must not hang the caller.
    fd_ = base::unique_fd(::open(name_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!fd_)
        refuse(errno, name_);
    struct stat st {};
    if (::fstat(fd_.get(), &st) != 0)
        refuse(errno, name_);
    if (const int code = base::look_at_backing(fd_.get(), st, backing_); code == ENOTSUP)
        fail(exit_code::not_a_stream, "{}: a {}, not a file or a block device that can hold a stream", name_,
             base::kind_of_file(st));
    else if (code != 0)
        refuse(code, name_);
}

bool media::read(std::uint64_t offset, std::span<std::byte> to) const {
    bool whole = true;
    while (!to.empty()) {
        const ssize_t got = ::pread(fd_.get(), to.data(), to.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got > 0) {
            offset += static_cast<std::uint64_t>(got);
            to = to.subspan(static_cast<std::size_t>(got));
            continue;
        }
        // A bad page takes no others with it. Behind the end there is nothing at all.
        const std::size_t lost =
            got == 0 ? to.size() : std::min<std::size_t>(to.size(), format::page_bytes - offset % format::page_bytes);
        std::fill_n(to.begin(), lost, std::byte{0});
        unreadable_bytes_ += lost;
        whole = false;
        offset += lost;
        to = to.subspan(lost);
    }
    return whole;
}

bool media::writer_alive() const noexcept {
    struct flock question {};
    question.l_type = F_RDLCK;
    question.l_whence = SEEK_SET;
    return ::fcntl(fd_.get(), F_OFD_GETLK, &question) == 0 && question.l_type == F_WRLCK;
}

bool media::is_own_identity(const format::identity_line& identity) const {
    return identity.boot_id == current_boot_id() && identity.st_dev == backing_.device &&
           identity.st_ino == backing_.inode;
}

std::uint32_t media::extend_crc(std::uint32_t state, std::uint64_t offset, std::uint64_t bytes) const {
    scratch_.resize(scratch_bytes);
    while (bytes > 0) {
        const auto piece = std::span(scratch_).first(std::min<std::uint64_t>(bytes, scratch_.size()));
        read(offset, piece);
        state = base::crc32c_extend(state, piece.data(), piece.size());
        offset += piece.size();
        bytes -= piece.size();
    }
    return state;
}

void window::load(std::uint64_t offset, std::size_t bytes) {
    const std::uint64_t left = from_->bytes() - std::min(offset, from_->bytes());
    buffer_.resize(std::max<std::uint64_t>(bytes, std::min<std::uint64_t>(read_ahead_, left)));
    read_ahead_ = std::min(capacity_, 4 * read_ahead_);
    begin_ = offset;
    from_->read(offset, buffer_);
}

std::uint32_t window::payload_state(std::uint64_t offset, const format::entry_header& header, std::uint32_t seed) {
    if (!format::crc_covers_payload(header.meta))
        return seed;
    if (format::entry_bytes(header.payload_bytes) <= capacity_)
        return format::payload_crc_state(view(offset, sizeof header + header.payload_bytes), header.payload_bytes,
                                         header.meta, seed);
    return from_->extend_crc(seed, offset + sizeof header, header.payload_bytes);
}

std::size_t window_bytes_for(std::size_t count) noexcept {
    constexpr std::size_t all_bytes = 64 << 20;
    return std::clamp<std::size_t>(all_bytes / std::max<std::size_t>(count, 1), 512, 1 << 20);
}

}  // namespace pmemstream::tools
