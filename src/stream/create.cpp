#include "src/base/checked.hpp"
#include "src/base/failure.hpp"
#include "src/base/mutant.hpp"
#include "src/base/unique_fd.hpp"
#include "src/base/wall_clock.hpp"
#include "src/format/layout.hpp"
#include "src/format/validate.hpp"
#include "src/format/words.hpp"
#include "src/medium/mapping.hpp"
#include "src/stream/blank_device.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/stream.hpp>

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <bit>
#include <cerrno>

namespace pmemstream {

namespace {

using base::failure;
using base::system_failure;

std::uint32_t random_number() noexcept {
    std::uint32_t number = static_cast<std::uint32_t>(::getpid());
    (void)!::getrandom(&number, sizeof number, 0);
    return number;
}

/// How large a stream may become for which nothing else is said.
std::uint64_t default_growth_bytes(std::uint64_t stream_bytes) noexcept {
    constexpr std::uint64_t at_least = std::uint64_t{1} << 40;
    constexpr std::uint64_t times = 16;
    const std::uint64_t most = format::stream_bytes_max;
    return stream_bytes > most / times ? most : std::max(at_least, stream_bytes * times);
}

/// A new file that has no name yet where the file system can do that, else a temporary one beside its later place.
class nameless_file {
public:
    [[nodiscard]] static result<nameless_file> make(const std::filesystem::path& target, mode_t mode) {
        nameless_file self;
        self.target_ = target;
        self.directory_ = target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
        self.fd_ = base::unique_fd(::open(self.directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
        if (self.fd_)
            return self;
        if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
            return system_failure(errno, "{}: creating a file in its directory", target.string());
        self.temporary_ =
            self.directory_ / fmt::format(".{}.{:08x}.creating", target.filename().string(), random_number());
        self.fd_ = base::unique_fd(::open(self.temporary_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode));
        if (!self.fd_)
            return system_failure(errno, "{}: creating a temporary file", self.temporary_.string());
        return self;
    }

    nameless_file(nameless_file&& other) noexcept
        : fd_(std::move(other.fd_)),
          target_(std::move(other.target_)),
          directory_(std::move(other.directory_)),
          temporary_(std::exchange(other.temporary_, {})) {}
    nameless_file& operator=(nameless_file&&) = delete;
    ~nameless_file() {
        if (!temporary_.empty())
            ::unlink(temporary_.c_str());
    }

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Gives it its name, durably, unless something has that name. Errors: already_exists, io.
    [[nodiscard]] result<void> appear() {
        if (temporary_.empty()) {
            const auto self = fmt::format("/proc/self/fd/{}", fd());
            if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, target_.c_str(), AT_SYMLINK_FOLLOW) != 0)
                return not_named();
        } else {
            if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_NOREPLACE) != 0)
                return not_named();
            temporary_.clear();
        }
        const base::unique_fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!directory || ::fsync(directory.get()) != 0)
            return system_failure(errno, "{}: making its name durable", target_.string());
        return {};
    }

private:
    nameless_file() = default;
    [[nodiscard]] tl::unexpected<error> not_named() const {
        if (errno == EEXIST)
            return failure(errc::already_exists, "{}: is there already; nothing was changed", target_.string());
        return system_failure(errno, "{}: giving the new stream its name", target_.string());
    }

    base::unique_fd fd_;
    std::filesystem::path target_;
    std::filesystem::path directory_;
    std::filesystem::path temporary_;
};

result<void> take_space(int fd, std::uint64_t bytes, const std::string& name) {
    if (const int code = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes)); code != 0) {
        if (code == ENOSPC || code == EFBIG || code == EDQUOT)
            return failure(errc::no_space, "{}: the file system has no room for {} bytes", name, bytes);
        return system_failure(code, "{}: taking {} bytes", name, bytes);
    }
    return {};
}

result<void> write_metadata(const format::superblock& block, std::uint64_t lineage, medium::mapping& medium) {
    auto* const begin = medium.data();
    auto& header = *reinterpret_cast<format::shared_header*>(begin + format::header_offset);
    // The space reads as zeros, a new file's as well as a blank device's, so only what is not zero is stored.
    header.identity.lineage = lineage;
    header.features.stream_bytes = format::size_word(block.initial_stream_bytes);
    auto& segment = *reinterpret_cast<format::segment_header*>(begin + format::first_segment_offset);
    segment.magic = format::magic_segment;
    segment.slots = block.first_segment_slots;
    segment.segment_bytes = block.data_offset - format::first_segment_offset;
    segment.crc = format::segment_crc(segment);
    auto& superblock = *reinterpret_cast<format::superblock*>(begin + format::superblock_offset);
    auto unborn = block;
    unborn.magic = base::mutated(base::mutant::magic_first) ? block.magic : 0;
    superblock = unborn;
    // [P1] Everything is durable before the magic says that this is a stream. Pairs with [P2] in validate.cpp.
    //      Without it: after power loss a file with a whole superblock and a torn table passes for a stream.
    if (auto done = medium.persist(0, block.data_offset); !done)
        return done;
    __atomic_store_n(&superblock.magic, format::magic_stream, __ATOMIC_RELEASE);
    return medium.persist(format::superblock_offset, sizeof superblock);
}

/// What the stream says of itself, once size and block size are found to make sense.
result<format::superblock> make_superblock(const std::string& name, std::uint64_t asked_bytes,
                                           const create_options& options) {
    const std::uint64_t block_bytes = options.block_bytes;
    if (!std::has_single_bit(block_bytes) || block_bytes < format::block_bytes_min ||
        block_bytes > format::block_bytes_max)
        return failure(errc::invalid_argument, "{}: a block of {} bytes; it must be a power of two from {} to {}", name,
                       block_bytes, format::block_bytes_min, format::block_bytes_max);
    const auto stream_bytes = base::checked_round_up(asked_bytes, block_bytes);
    if (!stream_bytes || *stream_bytes > format::stream_bytes_max)
        return failure(errc::too_large, "{}: {} bytes; a stream has at most {}", name, asked_bytes,
                       format::stream_bytes_max);

    format::superblock block{};
    block.magic = format::magic_stream;
    block.version = format::version;
    block.struct_bytes = sizeof block;
    block.block_bytes = block_bytes;
    block.initial_stream_bytes = *stream_bytes;
    block.stream_bytes_max = options.stream_bytes_max.value_or(default_growth_bytes(*stream_bytes));
    if (block.stream_bytes_max > format::stream_bytes_max)
        return failure(errc::too_large, "{}: a stream that may grow to {} bytes; the most is {}", name,
                       block.stream_bytes_max, format::stream_bytes_max);
    if (block.stream_bytes_max < *stream_bytes)
        return failure(errc::invalid_argument, "{}: a stream of {} bytes that may grow to {}", name, *stream_bytes,
                       block.stream_bytes_max);
    block.slot_bytes = sizeof(format::region_slot);
    block.creation_ns = base::wall_clock_ns();
    block.header_offset = format::header_offset;
    block.table_offset = format::first_segment_offset;
    // Two pages, less what blocks of 64 bytes save, hold superblock, header and a first segment of eight slots; where
    // blocks are larger, the segment fills what is left of the first.
    constexpr std::uint64_t slots_at_least = 8;
    const std::uint64_t metadata = format::first_slots_offset + slots_at_least * sizeof(format::region_slot);
    block.data_offset = base::round_up(metadata, block_bytes);
    block.first_segment_slots = static_cast<std::uint32_t>(
        std::min<std::uint64_t>((block.data_offset - format::first_slots_offset) / sizeof(format::region_slot), 1024));
    static_assert(format::first_slots_offset + 1024 * sizeof(format::region_slot) <= core::blank_device::blank_bytes,
                  "on a device all of the metadata lies where it is known to be blank");
    if (*stream_bytes < block.data_offset + block_bytes)
        return failure(errc::too_small, "{}: {} bytes; with blocks of {} a stream takes at least {}", name, asked_bytes,
                       block_bytes, block.data_offset + block_bytes);
    if (::getrandom(block.uuid.data(), block.uuid.size(), 0) != static_cast<ssize_t>(block.uuid.size()))
        return system_failure(errno, "{}: making a UUID", name);
    block.uuid[6] = (block.uuid[6] & std::byte{0x0f}) | std::byte{0x40};  // RFC 9562: version 4, variant 10
    block.uuid[8] = (block.uuid[8] & std::byte{0x3f}) | std::byte{0x80};
    block.crc = format::superblock_crc(block);
    return block;
}

/// Into blank space of that size.
result<void> write_stream(int fd, const format::superblock& block, const std::string& name) {
    {
        auto medium = medium::mapping::map(fd, block.initial_stream_bytes, medium::access::write, name);
        if (!medium)
            return tl::unexpected(std::move(medium.error()));
        // 0 is no lineage.
        const std::uint64_t lineage = std::uint64_t{random_number()} << 32 | random_number() | 1;
        if (auto written = write_metadata(block, lineage, **medium); !written)
            return written;
    }
    // The size and the extents of a file as well, which no flush of the mapping covers.
    if (::fsync(fd) != 0)
        return system_failure(errno, "{}: making the new stream durable", name);
    return {};
}

result<void> create_in_file(const std::filesystem::path& file, const create_options& options) {
    const std::string name = file.string();
    const auto block = make_superblock(name, options.stream_bytes.value_or(stream_bytes_default), options);
    if (!block)
        return tl::unexpected(block.error());
    if (struct stat st{}; ::lstat(name.c_str(), &st) == 0)
        return failure(errc::already_exists, "{}: is there already; nothing was changed", name);
    auto fresh = nameless_file::make(file, options.file_mode ? 0600 : 0666);
    if (!fresh)
        return tl::unexpected(std::move(fresh.error()));
    if (auto fine = core::check_filesystem(fresh->fd(), name, options.allow_network_filesystem); !fine)
        return fine;
    // Whole pages, which can be mapped by libpmem2.
    const std::uint64_t file_bytes = base::round_up(block->initial_stream_bytes, format::page_bytes);
    if (auto taken = take_space(fresh->fd(), file_bytes, name); !taken)
        return taken;
    if (options.file_mode && ::fchmod(fresh->fd(), *options.file_mode) != 0)
        return system_failure(errno, "{}: setting its mode", name);
    if (auto written = write_stream(fresh->fd(), *block, name); !written)
        return written;
    return fresh->appear();
}

result<void> create_on_device(const std::filesystem::path& file, const create_options& options) {
    const std::string name = file.string();
    if (options.file_mode)
        return failure(errc::invalid_argument, "{}: a block device; the permissions of its node are the system's",
                       name);
    const auto device = core::blank_device::open(name);
    if (!device)
        return tl::unexpected(device.error());
    const std::uint64_t unit = std::max(options.block_bytes, std::uint64_t{1});
    const auto block = make_superblock(name, options.stream_bytes.value_or(device->bytes() / unit * unit), options);
    if (!block)
        return tl::unexpected(block.error());
    if (block->initial_stream_bytes > device->bytes())
        return failure(errc::no_space, "{}: a stream of {} bytes on a device of {}", name, block->initial_stream_bytes,
                       device->bytes());
    if (auto blank = options.overwrite_device ? device->wipe() : device->check(); !blank)
        return blank;
    return write_stream(device->fd(), *block, name);
}

}  // namespace

result<void> create(const std::filesystem::path& file, const create_options& options) {
    struct stat st {};
    const bool on_device = ::stat(file.c_str(), &st) == 0 && S_ISBLK(st.st_mode);
    return on_device ? create_on_device(file, options) : create_in_file(file, options);
}

}  // namespace pmemstream
