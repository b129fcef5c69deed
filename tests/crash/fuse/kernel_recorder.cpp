#include "tests/crash/fuse/kernel_recorder.hpp"

#include "tests/support/require.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace pmemstream::test {

namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t sector_bytes = 512;

kernel_recorder* recording = nullptr;

}  // namespace

kernel_recorder::kernel_recorder(watched_fs& fs, std::uint64_t seed) : fs_(fs), random_(seed) {}

kernel_recorder::~kernel_recorder() {
    medium::observing = nullptr;
    base::stepping_in = nullptr;
}

void kernel_recorder::begin(trace& to, const mapped_file& file, image content) {
    struct stat st {};
    fd_ = base::unique_fd(::open(file.path().c_str(), O_RDWR | O_CLOEXEC));
    if (!fd_ || ::fstat(fd_.get(), &st) != 0 || ::fsync(fd_.get()) != 0)
        throw std::system_error(errno, std::generic_category(), file.path().string());
    inode_ = st.st_ino;
    inodes_.insert(inode_);
    fs_.forget();
    position_ = 0;
    to_ = &to;
    file_ = &file;
    content_ = std::move(content);
    recording = this;
    medium::observing = this;
    base::stepping_in = [](base::kill_point) { recording->write_some_back(); };
}

void kernel_recorder::end() {
    medium::observing = nullptr;
    base::stepping_in = nullptr;
    if (to_ != nullptr)
        read_log({});
    to_ = nullptr;
}

void kernel_recorder::mark(std::uint64_t state) {
    const auto before = changes();
    fs_.mark(state);
    read_log(before);
    write_some_back();
}

int kernel_recorder::sync(const medium::mapping&, std::span<const medium::mapping::range>) {
    write_some_back();
    return 0;
}

/// As the kernel does on its own: the pages are written, nothing is synced.
void kernel_recorder::write_some_back() {
    const auto dice = [this] {
        const std::lock_guard lock(random_mutex_);
        return random_();
    }();
    if (dice % 3 != 0)
        return;
    const std::uint64_t pages = content_.size() / page_bytes;
    // Most of what is dirty lies in the first few.
    const std::uint64_t first = dice / 3 % 2 == 0 ? dice / 6 % 4 : dice / 6 % pages;
    const std::uint64_t count = 1 + dice / 1024 % 4;
    const unsigned wait = dice / 8192 % 2 == 0 ? SYNC_FILE_RANGE_WAIT_AFTER : 0;
    (void)::sync_file_range(fd_.get(), static_cast<off_t>(first * page_bytes), static_cast<off_t>(count * page_bytes),
                            SYNC_FILE_RANGE_WRITE | wait);
}

/// What changed in memory since the last mark.
std::vector<trace_event> kernel_recorder::changes() {
    std::vector<trace_event> found;
    const auto* const now = file_->bytes().data();
    for (std::uint64_t begin = 0; begin < content_.size(); begin += sector_bytes) {
        if (std::memcmp(content_.data() + begin, now + begin, sector_bytes) == 0)
            continue;
        for (std::uint64_t at = begin; at < begin + sector_bytes; at += 8) {
            if (std::memcmp(content_.data() + at, now + at, 8) == 0)
                continue;
            std::memcpy(content_.data() + at, now + at, 8);
            found.push_back({.what = trace_event::kind::seen,
                             .offset = static_cast<std::uint32_t>(at),
                             .value = word_at(content_, at)});
        }
    }
    return found;
}

void kernel_recorder::read_log(const std::vector<trace_event>& before_mark) {
    const auto log = fs_.log(position_);
    for (std::size_t at = 0; at < log.size();) {
        fs_event event;
        require(log.size() - at >= sizeof event, "the log of the FUSE file system ends in the middle of an event");
        std::memcpy(&event, log.data() + at, sizeof event);
        at += sizeof event;
        require(log.size() - at >= event.bytes, "the log of the FUSE file system ends in the middle of a write");
        if (event.what == fs_event::kind::mark)
            to_->events.insert(to_->events.end(), before_mark.begin(), before_mark.end());
        // Pages of files that were recorded on before may be written back at any time.
        if (event.what == fs_event::kind::mark || event.file == inode_ || !inodes_.contains(event.file))
            add(event, log.data() + at);
        at += event.bytes;
    }
}

void kernel_recorder::add(const fs_event& event, const std::byte* content) {
    trace_event made{.bytes = static_cast<std::uint32_t>(content_.size())};
    switch (event.what) {
        case fs_event::kind::write:
            require(event.offset % sector_bytes == 0 && event.bytes % sector_bytes == 0 &&
                        event.offset + event.bytes <= content_.size(),
                    "the kernel writes {} bytes at offset {}, which is no whole number of sectors of the file",
                    event.bytes, event.offset);
            made = {.what = trace_event::kind::write,
                    .offset = static_cast<std::uint32_t>(event.offset),
                    .bytes = static_cast<std::uint32_t>(event.bytes),
                    .value = to_->written.size()};
            to_->written.insert(to_->written.end(), content, content + event.bytes);
            ++writes_;
            break;
        case fs_event::kind::sync_begins:
            made.what = trace_event::kind::flush;
            break;
        case fs_event::kind::sync_done:
            made.what = trace_event::kind::drain;
            ++syncs_;
            break;
        case fs_event::kind::mark:
            made = {.what = trace_event::kind::mark, .value = event.offset};
            break;
    }
    to_->events.push_back(made);
}

}  // namespace pmemstream::test
