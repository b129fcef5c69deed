#include "ipc/control_file.hpp"

#include "src/base/checked.hpp"
#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/file_mapping.hpp>
#include <cerrno>
#include <utility>

namespace pmemstream::ipc {

namespace {

constexpr std::uint64_t file_bytes = base::round_up(sizeof(control_layout), 4096);

bool looks_right(const control_layout& layout) noexcept {
    return base::load_relaxed(layout.magic) == magic_control && base::load_relaxed(layout.version) == control_version &&
           base::load_relaxed(layout.struct_bytes) == sizeof(control_layout);
}

std::uint64_t new_nonce() noexcept {
    std::uint64_t nonce = 0;
    while (nonce == 0)  // 0 means "no control file"
        if (::getrandom(&nonce, sizeof nonce, 0) != static_cast<ssize_t>(sizeof nonce))
            nonce = static_cast<std::uint64_t>(::getpid()) << 32 ^ static_cast<std::uint64_t>(::time(nullptr));
    return nonce;
}

/// Whose control file may be mapped: who owns the stream can do worse, and root can do anything.
bool is_trusted(uid_t owner, uid_t stream_owner) noexcept {
    return owner == stream_owner || owner == 0 || owner == ::geteuid();
}

bool is_same_file(int fd, const struct stat& other) noexcept {
    struct stat st {};
    return ::fstat(fd, &st) == 0 && st.st_dev == other.st_dev && st.st_ino == other.st_ino;
}

/// What is at the path may be replaced: nothing, or a control file, whoever left it. Its owner may be a user who once
/// wrote the stream; leave to rename in the directory is all that it takes.
bool may_replace(const control_place& place, int earlier_fd) noexcept {
    struct stat st {};
    if (!place.look(st))
        return errno == ENOENT;
    if (!S_ISREG(st.st_mode))
        return false;
    // Our own, of which somebody cut off the magic or wrote over it.
    if (is_same_file(earlier_fd, st))
        return true;
    const base::unique_fd fd = place.open(O_RDONLY);
    // Of one that may not be read the size must do.
    if (!fd)
        return errno == EACCES && static_cast<std::uint64_t>(st.st_size) == file_bytes;
    std::uint64_t magic = 0;
    return is_same_file(fd.get(), st) &&
           ::pread(fd.get(), &magic, sizeof magic, 0) == static_cast<ssize_t>(sizeof magic) && magic == magic_control;
}

}  // namespace

std::uint64_t control_file::offset_of(std::uint32_t reader_slot_index) noexcept {
    return offsetof(control_layout, readers) + std::uint64_t{reader_slot_index} * sizeof(reader_slot);
}

result<std::shared_ptr<control_file>> control_file::map(const std::string& path, base::unique_fd fd, bool writable) {
    namespace bip = boost::interprocess;
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0)
        return base::system_failure(errno, "{}: looking at it", path);
    if (!S_ISREG(st.st_mode) || static_cast<std::uint64_t>(st.st_size) != file_bytes)
        return base::failure(errc::not_found, "{}: not a control file", path);
    std::shared_ptr<control_file> self(new control_file);
    try {
        // By descriptor, so that what was checked is what is mapped.
        const auto mode = writable ? bip::read_write : bip::read_only;
        const bip::file_mapping file(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), mode);
        self->region_ = bip::mapped_region(file, mode, 0, file_bytes);
    } catch (const bip::interprocess_exception& e) {
        return base::system_failure(e.get_native_error(), "{}: mapping the control file", path);
    }
    self->watch_.emplace(&self->fd_, &self->fault_state_);
    self->fd_ = fd.release();
    self->layout_ = static_cast<control_layout*>(self->region_.get_address());
    self->guard_ = base::guarded_range(self->region_.get_address(), file_bytes, writable, &self->fault_state_);
    return self;
}

std::shared_ptr<control_file> control_file::adopt(const wanted_control& wanted) {
    base::unique_fd fd = wanted.place.open(O_RDWR);
    struct stat st {};
    // One name: else it may be the control file of another stream of ours, linked here by who knows its nonce.
    if (!fd || ::fstat(fd.get(), &st) != 0 || !is_trusted(st.st_uid, wanted.owner) || st.st_nlink != 1)
        return nullptr;
    auto kept = map(wanted.place.path(), std::move(fd), true);
    if (!kept || !looks_right((*kept)->layout()) || base::load_relaxed((*kept)->layout().nonce) != wanted.nonce)
        return nullptr;
    // Not before it is known for a control file: somebody may have put a link to another file of ours there.
    if ((st.st_mode & 07777) != wanted.mode && ::fchmod((*kept)->fd_, wanted.mode) != 0)
        return nullptr;
    (*kept)->nonce_ = wanted.nonce;
    return std::move(*kept);
}

result<std::shared_ptr<control_file>> control_file::adopt_or_create(const wanted_control& wanted) {
    const auto& place = wanted.place;
    const std::string& path = place.path();
    if (wanted.nonce != 0)
        if (auto kept = adopt(wanted))
            return kept;
    // A stream that was renamed, and another that took its name, must not fight over one control file.
    if (auto fine = place.check_stream(); !fine)
        return tl::unexpected(std::move(fine.error()));
    if (!may_replace(place, wanted.earlier != nullptr ? wanted.earlier->fd() : -1))
        return base::failure(errc::already_exists,
                             "{}: something that cannot be told for a control file is there, and is left alone", path);

    base::unique_fd fd = place.create_temporary();
    if (!fd)
        return base::system_failure(errno, "{}: creating it under a temporary name", path);
    const auto give_up = [&](tl::unexpected<error> why) {
        place.remove_temporary();
        return why;
    };
    // Real space: a full disk must be an error here and not a SIGBUS at the first flag.
    if (const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(file_bytes)); code != 0)
        return give_up(base::system_failure(code, "{}: taking its space", path));
    // What root leaves behind is the stream's owner's, like the stream. (Where that user means nothing here, root's.)
    if (::geteuid() == 0)
        (void)!::fchown(fd.get(), wanted.owner, wanted.group);
    if (::fchmod(fd.get(), wanted.mode) != 0)
        return give_up(base::system_failure(errno, "{}: setting its mode", path));
    auto made = map(path, std::move(fd), true);
    if (!made)
        return give_up(tl::unexpected(made.error()));
    auto& layout = (*made)->layout();
    (*made)->nonce_ = new_nonce();
    base::store_relaxed(layout.version, control_version);
    base::store_relaxed(layout.struct_bytes, static_cast<std::uint32_t>(sizeof(control_layout)));
    base::store_relaxed(layout.nonce, (*made)->nonce_);
    base::store_release(layout.magic, magic_control);
    // Before it has its name: what power loss leaves at the path is known for a control file, and may be replaced.
    if (::fsync((*made)->fd_) != 0)
        return give_up(base::system_failure(errno, "{}: writing the control file", path));
    if (!place.put_in_place())
        return give_up(base::system_failure(errno, "{}: putting the control file in place", path));
    return made;
}

result<std::shared_ptr<control_file>> control_file::attach(const control_place& place, std::uint64_t nonce,
                                                           uid_t stream_owner, bool writable) {
    const std::string& path = place.path();
    base::unique_fd fd = place.open(writable ? O_RDWR : O_RDONLY);
    if (!fd)
        return base::system_failure(errno, "{}: opening the control file", path);
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0)
        return base::system_failure(errno, "{}: looking at it", path);
    if (!is_trusted(st.st_uid, stream_owner))
        return base::failure(errc::no_permission, "{}: belongs to user {}, not to the stream's owner", path, st.st_uid);
    auto file = map(path, std::move(fd), writable);
    if (!file)
        return file;
    if (!looks_right((*file)->layout()) || nonce == 0 || base::load_relaxed((*file)->layout().nonce) != nonce)
        return base::failure(errc::not_found, "{}: belongs to another stream or an earlier writer", path);
    (*file)->nonce_ = nonce;
    return file;
}

control_file::~control_file() {
    base::fork_hook::without_forks([this] {
        if (fd_ >= 0)
            ::close(std::exchange(fd_, -1));
    });
}

bool control_file::is_at(const control_place& place) const noexcept {
    struct stat st {};
    return place.look(st) && is_same_file(fd_, st) && static_cast<std::uint64_t>(st.st_size) == file_bytes;
}

}  // namespace pmemstream::ipc
