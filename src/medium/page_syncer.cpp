#include "src/medium/page_syncer.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <array>
#include <cerrno>

namespace pmemstream::medium {

namespace {

/// From the start of the first page to its end.
byte_range in_pages(const byte_range& range) noexcept {
    static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t begin = range.offset & ~(page - 1);
    return {begin, range.offset + range.bytes - begin};
}

/// A signal may end a sync early (on FUSE and NFS); it is no refusal, and nothing is lost by asking again.
template <class Call>
int answer_to(const Call& call) noexcept {
    while (call() != 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

// libpmem2's own functions end the process when msync fails, so the system is called directly.
int sync_with_system_calls(std::byte* data, int fd, std::span<const byte_range> ranges) noexcept {
    // One range: no more than it is written. Several: all that is dirty, in one go.
    if (ranges.size() > 1)
        return answer_to([&] { return ::fdatasync(fd); });
    const auto only = in_pages(ranges.front());
    return answer_to([&] { return ::msync(data + only.offset, only.bytes, MS_SYNC); });
}

}  // namespace

int page_syncer::prepare(page_sync wanted) noexcept {
    used_ = page_sync::system_calls;
    if (wanted == page_sync::system_calls)
        return 0;
    int why = 0;
    ring_ = sync_ring::make(why);
    if (ring_ != nullptr)
        used_ = wanted;
    return wanted == page_sync::io_uring ? why : 0;
}

// As measured (docs/guarantees.md, "How pages are synced"): for one range msync is faster. For several, fdatasync, as long
// as they are most of what is dirty; else it waits for all the rest, and syncing them range by range, but at once, takes a
// fraction of that.
int page_syncer::sync(std::byte* data, int fd, std::span<const byte_range> ranges, elsewhere rest) noexcept {
    std::unique_lock lock(ring_mutex_, std::defer_lock);
    bool through_ring = false;
    if (used_ == page_sync::io_uring) {
        lock.lock();
        through_ring = true;
    } else if (used_ == page_sync::automatic && rest == elsewhere::dirty && ranges.size() > 1) {
        through_ring = lock.try_lock();
    }
    if (!through_ring || ring_->is_broken())
        return sync_with_system_calls(data, fd, ranges);
    const int code = sync_through_ring(fd, ranges, rest);
    return code == EINTR ? sync_with_system_calls(data, fd, ranges) : code;
}

int page_syncer::sync_through_ring(int fd, std::span<const byte_range> ranges, elsewhere rest) noexcept {
    constexpr std::uint64_t piece_bytes_max = std::uint64_t{1} << 30;
    static constexpr sync_ring::piece whole_file{};
    if (ranges.size() > 1 && rest == elsewhere::clean)
        return ring_->sync(fd, {&whole_file, 1});
    for (std::size_t done = 0; done < ranges.size();) {
        std::array<sync_ring::piece, sync_ring::pieces_max> pieces;
        std::size_t count = 0;
        for (; count < pieces.size() && done < ranges.size(); ++count, ++done) {
            const auto range = in_pages(ranges[done]);
            if (range.bytes == 0 || range.bytes > piece_bytes_max)
                return ring_->sync(fd, {&whole_file, 1});
            pieces[count] = {range.offset, static_cast<std::uint32_t>(range.bytes)};
        }
        if (const int code = ring_->sync(fd, std::span(pieces).first(count)); code != 0)
            return code;
    }
    return 0;
}

}  // namespace pmemstream::medium
