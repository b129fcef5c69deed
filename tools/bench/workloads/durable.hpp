#pragma once

#include "tools/bench/settings.hpp"
#include "tools/bench/streams.hpp"

#include <cstdint>
#include <cstdlib>
#include <span>

namespace bench {

/// Set for as long as it lives: streams that are opened meanwhile flush cache lines, and so does libpmemlog.
class forced_lines {
public:
    forced_lines() {
        ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
        ::setenv("PMEM_IS_PMEM_FORCE", "1", 1);
    }
    ~forced_lines() {
        ::unsetenv("PMEM2_FORCE_GRANULARITY");
        ::unsetenv("PMEM_IS_PMEM_FORCE");
    }
    forced_lines(const forced_lines&) = delete;
    forced_lines& operator=(const forced_lines&) = delete;
};

/// Appends that return at persisted, by flushing lines. Make it while forced_lines lives.
class line_durable {
public:
    explicit line_durable(const settings& how);
    /// ns per entry, over entries(size) of them in a region that was emptied.
    [[nodiscard]] double append(std::span<const std::byte> payload);
    [[nodiscard]] std::uint64_t entries(std::uint64_t payload_bytes) const;

private:
    std::uint64_t region_bytes_;
    scratch_stream stream_;
    std::unique_ptr<pmemstream::writer> writer_;
    pmemstream::region where_;
};

/// A stream whose region was filled once, so that no sync pays for turning allocated space into written space. The
/// writer itself filled it, after it has persisted something if it `waits`: how the page cache holds the file, which
/// decides what a sync writes, is the library's doing.
[[nodiscard]] std::unique_ptr<pmemstream::writer> open_filled_once(const std::filesystem::path& file,
                                                                   std::uint64_t region_bytes,
                                                                   const pmemstream::writer_options& options,
                                                                   bool waits, pmemstream::region& emptied);

/// Appends and waits for persisted on a disk, in the middle of the file.
class page_durable {
public:
    /// For up to `threads_max` threads.
    page_durable(const settings& how, unsigned threads_max);
    [[nodiscard]] std::uint64_t region_bytes() const noexcept { return region_bytes_; }
    /// How often each of so many threads may append in a turn: `wanted`, or what there is room for.
    [[nodiscard]] std::uint64_t times(std::uint64_t payload_bytes, unsigned threads,
                                      std::uint64_t wanted) const noexcept;
    /// ns per entry with so many threads, each of which appends (under one mutex) and waits (outside) `each` times.
    [[nodiscard]] double append_and_wait(std::span<const std::byte> payload, unsigned threads, std::uint64_t each);

private:
    void make_room(std::uint64_t bytes);

    std::uint64_t region_bytes_;
    scratch_stream stream_;
    std::unique_ptr<pmemstream::writer> writer_;
    pmemstream::region where_;
};

}  // namespace bench
