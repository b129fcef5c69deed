#include "src/medium/mapping.hpp"

#include "src/base/failure.hpp"
#include "src/medium/seam.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

namespace pmemstream::medium {

namespace {
constexpr std::uint64_t page_bytes = 4096;

/// Of a question for extents: the file system keeps no such record, or somebody (a filter of system calls) lets nobody ask.
bool tells_nobody(int code) noexcept {
    constexpr std::array answers{EOPNOTSUPP, ENOTTY, EBADR, ENOSYS, EPERM, EACCES};
    return std::ranges::find(answers, code) != answers.end();
}
}  // namespace

result<std::unique_ptr<mapping>> mapping::map(int fd, std::uint64_t bytes, access mode, std::string file,
                                              page_sync sync_by) {
    auto memory = mapped_memory::map(fd, bytes, mode, file);
    if (!memory)
        return tl::unexpected(std::move(memory.error()));
    std::unique_ptr<mapping> self(new mapping);
    self->memory_ = std::move(*memory);
    self->bytes_ = bytes;
    self->fd_ = fd;
    self->file_ = std::move(file);
    self->guard_ = base::guarded_range(self->data(), bytes, mode == access::write, &self->fault_state_);
    // A child must not write to its parent's stream by accident.
    if (mode == access::write)
        if (const int code = self->unforked_.cover(self->data(), bytes); code != 0)
            return base::system_failure(code, "{}: keeping the mapping from forked children", self->file_);
    if (mode == access::write && !self->flushes())
        if (const int code = self->syncer_.prepare(sync_by); code != 0)
            return base::system_failure(code, "{}: setting up io_uring{}", self->file_,
                                        sync_ring::built_in ? "" : ", without which this library was built");
    if (mode == access::write)
        seam_mapped(*self);
    return self;
}

mapping::~mapping() {
    seam_unmapped(*this);
}

void mapping::flush(std::uint64_t offset, std::uint64_t bytes) noexcept {
    seam_flush(*this, offset, bytes);
    memory_.flush(offset, bytes);
}

void mapping::drain() noexcept {
    seam_drain(*this);
    memory_.drain();
}

void mapping::copy_past_caches(std::uint64_t offset, const void* from, std::size_t bytes) noexcept {
    if (!seam_copy(*this, offset, from, bytes))
        memory_.copy_past_caches(offset, from, bytes);
}

result<void> mapping::persist(std::uint64_t offset, std::uint64_t bytes) noexcept {
    if (bytes == 0)
        return {};
    const range one{offset, bytes};
    return persist({&one, 1}, elsewhere::clean);
}

result<void> mapping::persist(std::span<const range> ranges, elsewhere rest) noexcept {
    if (!flushes()) {
        if (auto done = sync(ranges, rest); !done)
            return done;
    } else {
        for (const auto& range : ranges)
            flush(range.offset, range.bytes);
        if (!ranges.empty())
            drain();
    }
    // Of what the fault guard put in the place of a lost page nothing was made durable.
    if (has_faulted())
        return base::failure(errc::io, "{}: part of the mapping is lost (the file was truncated, or the medium failed)",
                             file_);
    return {};
}

std::optional<page_sync> mapping::synced_by() const noexcept {
    return flushes() ? std::nullopt : std::optional(syncer_.used());
}

int mapping::sync_and_note(std::span<const range> ranges, elsewhere rest) noexcept {
    const std::shared_lock one_of_those(syncing_);
    int code = seam_sync(*this, ranges);
    if (code == 0)
        code = syncer_.sync(data(), fd_, ranges, rest);
    if (code != 0) {
        base::die_at(base::kill_point::sync_refused);
        refused_ = code;
    }
    return code;
}

result<void> mapping::sync(std::span<const range> ranges, elsewhere rest) noexcept {
    if (ranges.empty())
        return {};
    int code = sync_and_note(ranges, rest);
    if (code == 0) {
        // The system tells an error once per open file, whosever pages it is about: where threads sync at the same time,
        // perhaps to another than the one whose pages are lost. So who was told nothing hears what the others were told.
        const std::unique_lock after_the_others(syncing_);
        code = refused_;
    }
    if (code == 0)
        return {};
    if (ranges.size() == 1)
        return base::system_failure(code, "{}: making {} bytes at offset {} durable", file_, ranges.front().bytes,
                                    ranges.front().offset);
    return base::system_failure(code, "{}: making {} ranges durable, the first of {} bytes at offset {}", file_,
                                ranges.size(), ranges.front().bytes, ranges.front().offset);
}

int mapping::list_unwritten(std::uint64_t offset, std::uint64_t bytes, bool settled, std::vector<range>& found) const {
    constexpr unsigned extents_max = 64;
    found.clear();
    const std::uint64_t end = offset + bytes;
    for (std::uint64_t from = offset; from < end;) {
        alignas(fiemap) std::byte buffer[sizeof(fiemap) + extents_max * sizeof(fiemap_extent)] = {};
        auto& map = *reinterpret_cast<fiemap*>(buffer);
        map.fm_start = from;
        map.fm_length = end - from;
        map.fm_extent_count = extents_max;
        map.fm_flags = settled ? FIEMAP_FLAG_SYNC : 0;
        int code = seam_extents(*this, from);
        if (code == 0 && ::ioctl(fd_, FS_IOC_FIEMAP, &map) != 0)
            code = errno;
        if (tells_nobody(code))
            return 0;
        if (code != 0)
            return code;
        if (map.fm_mapped_extents == 0)
            break;
        for (unsigned i = 0; i < map.fm_mapped_extents; ++i) {
            const auto& extent = map.fm_extents[i];
            const std::uint64_t extent_end = extent.fe_logical + extent.fe_length;
            const std::uint64_t part_begin = std::max<std::uint64_t>(extent.fe_logical, offset);
            const std::uint64_t part_end = std::min(extent_end, end);
            if ((extent.fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0 && part_begin < part_end)
                found.push_back({part_begin, part_end - part_begin});
            from = std::max(from, extent_end);
        }
        if (map.fm_mapped_extents < extents_max)
            break;
    }
    return 0;
}

std::vector<mapping::range> mapping::unwritten(std::uint64_t offset, std::uint64_t bytes) const {
    std::vector<range> found;
    return list_unwritten(offset, bytes, false, found) == 0 ? found : std::vector<range>();
}

result<void> mapping::check_written(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    std::vector<range> left;
    int code = list_unwritten(offset, bytes, false, left);
    // Behind a sync some file systems change their records a moment later.
    if (code == 0 && !left.empty())
        code = list_unwritten(offset, bytes, true, left);
    if (code != 0)
        return base::system_failure(code, "{}: asking whether {} bytes at offset {} are written", file_, bytes, offset);
    if (left.empty() && !seam_unwritten(*this, offset))
        return {};
    const range first = left.empty() ? range{offset, bytes} : left.front();
    return base::system_failure(
        EIO,
        "{}: {} bytes at offset {} are in memory alone: a sync of them was refused, and now the "
        "file system writes them without a record of it. Salvage the stream to another file "
        "before the machine is restarted",
        file_, first.bytes, first.offset);
}

void mapping::sync_single_pages() noexcept {
    if (flushes() || single_pages_.load(std::memory_order_relaxed) || single_pages_.exchange(true))
        return;
    // Without readahead no large folio is made; what refuses the advice stays as fast as it was.
    if (huge_pages_.load(std::memory_order_relaxed))
        (void)::madvise(data(), bytes_, MADV_NOHUGEPAGE);
    (void)::madvise(data(), bytes_, MADV_RANDOM);
}

void mapping::want_huge_pages() noexcept {
    if (!single_pages_.load(std::memory_order_relaxed) && ::madvise(data(), bytes_, MADV_HUGEPAGE) == 0)
        huge_pages_.store(true, std::memory_order_relaxed);
}

void mapping::populate(std::uint64_t offset, std::uint64_t bytes) noexcept {
    const std::uint64_t begin = offset / page_bytes * page_bytes;
    const std::uint64_t end = std::min(offset + bytes, bytes_);
    if (begin >= end)
        return;
    if (kernel_populates_.load(std::memory_order_relaxed)) {
        int code = seam_populate(*this);
        if (code == 0)
            code = ::madvise(data() + begin, end - begin, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
        if (code != EINVAL)
            return;
        kernel_populates_.store(false, std::memory_order_relaxed);  // before Linux 5.14
    }
    touch(begin, end - begin);
}

// An atomic instruction that changes nothing, beside plain stores of another thread: the processor keeps both, but in the
// language's terms it is a race, so the thread sanitizer is not shown it.
[[gnu::no_sanitize_thread]] void mapping::touch(std::uint64_t offset, std::uint64_t bytes) noexcept {
    for (std::uint64_t at = offset & ~std::uint64_t{7}; at < offset + bytes; at = (at | (page_bytes - 1)) + 1) {
        auto* const word = reinterpret_cast<std::uint64_t*>(data() + at);
#if defined(__x86_64__)
        __asm__ volatile("lock orq $0, %0" : "+m"(*word));
#else
        __atomic_fetch_or(word, std::uint64_t{0}, __ATOMIC_RELAXED);
#endif
    }
}

}  // namespace pmemstream::medium
