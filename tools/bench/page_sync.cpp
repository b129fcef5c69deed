#include "tools/bench/page_sync.hpp"

#include "tools/bench/measure.hpp"
#include "tools/bench/row.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
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

double page_sync::measure(call how, std::uint64_t times, std::uint64_t step_bytes) {
    step_bytes = std::min<std::uint64_t>(step_bytes, 4096);
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < times; ++i) {
        if (position_ / 4096 != (position_ + step_bytes - 1) / 4096)  // one page, not two
            position_ = (position_ / 4096 + 1) * 4096;
        if (position_ + step_bytes > mapping_->bytes())
            position_ = 0;
        std::memset(mapping_->data() + position_, static_cast<int>(i), step_bytes);
        std::byte* const page = mapping_->data() + position_ / 4096 * 4096;
        if ((how == call::msync ? ::msync(page, 4096, MS_SYNC) : ::fdatasync(fd_)) != 0)
            throw std::system_error(errno, std::generic_category(), file_.file().string() + ": syncing a page");
        position_ += step_bytes;
    }
    return ns_since(begin) / static_cast<double>(times);
}

}  // namespace bench
