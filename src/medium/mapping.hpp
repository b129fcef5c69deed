#pragma once

#include "src/base/fault_registry.hpp"
#include "src/base/fault_state.hpp"
#include "src/medium/mapped_memory.hpp"
#include "src/medium/page_syncer.hpp"
#include "src/medium/unforked_range.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::medium {

/// A stream's file, or block device, in memory, and how stores to it become durable there.
/// Thread safety: all but destruction.
class mapping {
public:
    /// Maps the first `bytes` of `fd`, shared; `fd` stays open as long as this lives. `file` is for messages. Errors: io
    /// (also where io_uring is asked for and cannot be had), no_permission.
    [[nodiscard]] static result<std::unique_ptr<mapping>> map(int fd, std::uint64_t bytes, access mode,
                                                              std::string file,
                                                              page_sync sync_by = page_sync::system_calls);
    ~mapping();
    mapping(const mapping&) = delete;
    mapping& operator=(const mapping&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return memory_.data(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] pmemstream::granularity granularity() const noexcept { return memory_.granularity(); }
    /// PMEM2_FORCE_GRANULARITY decided, not the file.
    [[nodiscard]] bool granularity_forced() const noexcept { return memory_.is_forced(); }

    /// How sync() does it; `automatic`: in both ways. Nothing where flushes().
    [[nodiscard]] std::optional<page_sync> synced_by() const noexcept;

    using range = byte_range;

    /// Makes `bytes` from `offset` durable: flush() and drain(), or sync(), whichever this medium has. Errors: io,
    /// no_space (a file system that copies on write); nothing is known of the range then.
    [[nodiscard]] result<void> persist(std::uint64_t offset, std::uint64_t bytes) noexcept;
    /// The same for several, which costs less than one by one.
    [[nodiscard]] result<void> persist(std::span<const range> ranges, elsewhere rest) noexcept;

    /// Whether single stores can be made durable (flush, drain) or only pages can (sync).
    [[nodiscard]] bool flushes() const noexcept { return granularity() != pmemstream::granularity::page; }
    /// Only where flushes(): the range is durable after the next drain().
    void flush(std::uint64_t offset, std::uint64_t bytes) noexcept;
    void drain() noexcept;
    /// Only where flushes(): a copy that leaves the caches alone. It is durable, and what is stored afterwards is seen by
    /// other threads after it, from the next drain() on.
    void copy_past_caches(std::uint64_t offset, const void* from, std::size_t bytes) noexcept;
    /// Elsewhere: what lies in these ranges is durable when it returns. All of them at once, because each sync makes the
    /// device empty its cache. Errors as for persist(); once one was refused, no later one succeeds.
    [[nodiscard]] result<void> sync(std::span<const range> ranges, elsewhere rest = elsewhere::clean) noexcept;

    /// The parts of a range that the file system has set aside and not written yet, so that the first sync of data there
    /// costs a change of its own records as well. None where it cannot tell.
    [[nodiscard]] std::vector<range> unwritten(std::uint64_t offset, std::uint64_t bytes) const;
    /// For what was touched and synced after an earlier sync of it had been refused: whether the file system knows of it
    /// now. (ext4 writes such a page once more, to where it would have been, without a record that anything is there: so
    /// the sync succeeds, and the bytes are zeros as soon as the page is not in memory any more.) Errors: io.
    [[nodiscard]] result<void> check_written(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    /// For who syncs little at a time: pages that are touched for the first time from now on are single ones. Else the
    /// kernel's page cache gathers them in large folios, which are dirty, and written, as a whole: then syncing one entry
    /// writes up to 2 MiB. Single pages cost more when they are touched first. Nothing where flushes().
    void sync_single_pages() noexcept;
    /// For who syncs much at a time, or never: pages that are touched for the first time from now on, until
    /// sync_single_pages(), are as large as the file system can have them.
    void want_huge_pages() noexcept;
    /// Stores a word of every page again as it is, so that the page is dirty; whatever anybody else stores meanwhile
    /// stays. Writable mappings only.
    void touch(std::uint64_t offset, std::uint64_t bytes) noexcept;

    /// Makes the pages of a range present and writable, so that no store to them faults first. Changes no byte, whoever
    /// stores meanwhile; what cannot be had is left to the store that meets it. Writable mappings only.
    void populate(std::uint64_t offset, std::uint64_t bytes) noexcept;

    /// See base::fault_state; 0 while all is well.
    [[nodiscard]] std::uint32_t& fault_state() noexcept { return fault_state_; }
    [[nodiscard]] bool has_faulted() const noexcept {
        return (base::fault_state::load(fault_state_) & base::fault_state::faulted) != 0;
    }

private:
    mapping() noexcept = default;
    [[nodiscard]] int sync_and_note(std::span<const range> ranges, elsewhere rest) noexcept;
    /// unwritten(), `settled`: once what is dirty is written. Returns an errno value where asking failed.
    [[nodiscard]] int list_unwritten(std::uint64_t offset, std::uint64_t bytes, bool settled,
                                     std::vector<range>& found) const;

    std::uint64_t bytes_ = 0;
    int fd_ = -1;  // the caller's, which outlives this
    std::uint32_t fault_state_ = 0;
    std::atomic<bool> single_pages_{false};
    std::atomic<bool> huge_pages_{false};
    std::atomic<bool> kernel_populates_{true};
    std::string file_;
    page_syncer syncer_;
    std::shared_mutex syncing_;    // shared: while one syncs
    std::atomic<int> refused_{0};  // what the system answered when it last refused a sync: an errno value
    // In this order: the guard goes before the memory that it guards, and that before its place may be given away.
    unforked_range unforked_;
    mapped_memory memory_;
    base::guarded_range guard_;
};

}  // namespace pmemstream::medium
