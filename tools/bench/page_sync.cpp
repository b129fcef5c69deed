#include "tools/bench/page_sync.hpp"

#include "tools/bench/measure.hpp"
#include "tools/bench/raw_futex.hpp"
#include "tools/bench/row.hpp"
#include "tools/bench/team.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace bench {

page_sync::page_sync(std::filesystem::path file, std::uint64_t bytes) : file_(std::move(file), bytes) {
    overwrite(file_.file());
    mapping_ = std::make_unique<raw_mapping>(file_.file(), access::write);
    if (::madvise(mapping_->data(), mapping_->bytes(), MADV_RANDOM) != 0)
        throw std::system_error(errno, std::generic_category(), file_.file().string() + ": advising how it is used");
    fd_ = ::open(file_.file().c_str(), O_RDWR | O_CLOEXEC);
    if (fd_ < 0)
        throw std::system_error(errno, std::generic_category(), file_.file().string());
    constexpr std::uint64_t times = 25, step_bytes = 80;
    std::vector<double> msync, fdatasync;
    for (int round = 0; round < 3; ++round) {
        msync.push_back(measure(call::msync, times, step_bytes));
        fdatasync.push_back(measure(call::fdatasync, times, step_bytes));
    }
    cheaper_ = median(msync) <= median(fdatasync) ? call::msync : call::fdatasync;
}

page_sync::~page_sync() {
    if (fd_ >= 0)
        ::close(fd_);
}

const char* page_sync::by() const noexcept {
    return cheaper_ == call::msync ? "msync" : "fdatasync";
}

double page_sync::sync_pages(std::uint64_t times, std::uint64_t step_bytes) {
    return measure(cheaper_, times, step_bytes);
}

double page_sync::sync_for_all(unsigned threads, std::uint64_t rounds, std::uint64_t step_bytes) {
    if (position_ + threads * rounds * step_bytes > mapping_->bytes())
        position_ = 0;
    std::atomic<std::uint64_t> next{position_};
    std::atomic<unsigned> arrived{0};
    std::atomic<bool> failed{false};
    alignas(64) std::uint32_t round = 0;
    std::uint64_t synced = position_;
    const double ns = together(threads, [&] {
        for (std::uint64_t i = 0; i < rounds; ++i) {
            const std::uint32_t seen = __atomic_load_n(&round, __ATOMIC_ACQUIRE);
            std::memset(mapping_->data() + next.fetch_add(step_bytes), static_cast<int>(i), step_bytes);
            if (arrived.fetch_add(1) + 1 < threads) {
                while (__atomic_load_n(&round, __ATOMIC_ACQUIRE) == seen)
                    futex_wait(round, seen, shared_by::threads);
                continue;
            }
            arrived = 0;
            try {
                sync(cheaper_, synced, next);
            } catch (const std::system_error&) {
                failed = true;
            }
            synced = next;
            __atomic_store_n(&round, seen + 1, __ATOMIC_RELEASE);
            futex_wake(round, shared_by::threads);
        }
    });
    position_ = synced;
    if (failed)
        throw std::runtime_error(file_.file().string() + ": syncing pages failed");
    return ns / static_cast<double>(threads * rounds);
}

void page_sync::sync(call how, std::uint64_t begin, std::uint64_t end) {
    const std::uint64_t first = begin / 4096 * 4096;
    if ((how == call::msync ? ::msync(mapping_->data() + first, end - first, MS_SYNC) : ::fdatasync(fd_)) != 0)
        throw std::system_error(errno, std::generic_category(), file_.file().string() + ": syncing");
}

double page_sync::measure(call how, std::uint64_t times, std::uint64_t step_bytes) {
    const std::uint64_t pages = (step_bytes + 4095) / 4096;
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < times; ++i) {
        if ((position_ + step_bytes - 1) / 4096 - position_ / 4096 >= pages)  // one page, not two
            position_ = (position_ / 4096 + 1) * 4096;
        if (position_ + step_bytes > mapping_->bytes())
            position_ = 0;
        std::memset(mapping_->data() + position_, static_cast<int>(i), step_bytes);
        sync(how, position_, position_ + step_bytes);
        position_ += step_bytes;
    }
    return ns_since(begin) / static_cast<double>(times);
}

}  // namespace bench
