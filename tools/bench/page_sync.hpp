#pragma once

#include "tools/bench/streams.hpp"

#include <cstdint>
#include <filesystem>

namespace bench {

/// What a durable append cannot do without on a disk: a store to a page, and a sync of that page. Of a file whose blocks
/// were all written before, for else each sync also pays for that; through a mapping whose pages came one by one, for
/// else it writes the megabyte around the page (see overwrite()); by the cheaper of the two calls that do it.
class page_sync {
public:
    page_sync(std::filesystem::path file, std::uint64_t bytes);
    ~page_sync();
    page_sync(const page_sync&) = delete;
    page_sync& operator=(const page_sync&) = delete;

    /// Stores `step_bytes` at a time behind one another, each in as few pages as it takes, and syncs those. ns per sync.
    [[nodiscard]] double sync_pages(std::uint64_t times, std::uint64_t step_bytes);
    /// So many threads each store a step; the last to come syncs the pages for all of them and wakes the others, which
    /// slept; `rounds` times. ns per thread and round.
    [[nodiscard]] double sync_for_all(unsigned threads, std::uint64_t rounds, std::uint64_t step_bytes);
    /// msync or fdatasync.
    [[nodiscard]] const char* by() const noexcept;

private:
    enum class call : std::uint8_t { msync, fdatasync };
    double measure(call how, std::uint64_t times, std::uint64_t step_bytes);
    void sync(call how, std::uint64_t begin, std::uint64_t end);

    scratch_file file_;
    std::unique_ptr<raw_mapping> mapping_;
    int fd_ = -1;
    std::uint64_t position_ = 0;
    call cheaper_ = call::msync;
};

}  // namespace bench
