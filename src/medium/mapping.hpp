#pragma once

#include "src/base/fault_registry.hpp"
#include "src/base/trouble.hpp"
#include "src/medium/mapped_memory.hpp"
#include "src/medium/unforked_range.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::medium {

/// A stream's file, or block device, in memory, and how stores to it become durable there.
/// Thread safety: all but destruction.
class mapping {
public:
    /// Maps the first `bytes` of `fd`, shared; `fd` stays open as long as this lives. `file` is for messages. Errors: io, no_permission.
    [[nodiscard]] static result<std::unique_ptr<mapping>> map(int fd, std::uint64_t bytes, access mode,
                                                              std::string file);
    ~mapping();
    mapping(const mapping&) = delete;
    mapping& operator=(const mapping&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return memory_.data(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] pmemstream::granularity granularity() const noexcept { return memory_.granularity(); }
    /// PMEM2_FORCE_GRANULARITY decided, not the file.
    [[nodiscard]] bool granularity_forced() const noexcept { return memory_.is_forced(); }

    /// Makes `bytes` from `offset` durable: flush() and drain(), or sync(), whichever this medium has. Errors: io,
    /// no_space (a file system that copies on write); nothing is known of the range then.
    [[nodiscard]] result<void> persist(std::uint64_t offset, std::uint64_t bytes) noexcept;

    /// Whether single stores can be made durable (flush, drain) or only pages can (sync).
    [[nodiscard]] bool flushes() const noexcept { return granularity() != pmemstream::granularity::page; }
    /// Only where flushes(): the range is durable after the next drain().
    void flush(std::uint64_t offset, std::uint64_t bytes) noexcept;
    void drain() noexcept;
    /// Elsewhere: what lies in these ranges is durable when it returns. One call to the system for all of them, because
    /// each makes the device empty its cache. Errors as for persist().
    struct range {
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };
    [[nodiscard]] result<void> sync(std::span<const range> ranges) noexcept;

    /// The parts of a range that the file system has set aside and not written yet, so that the first sync of data there
    /// costs a change of its own records as well. None where it cannot tell.
    [[nodiscard]] std::vector<range> unwritten(std::uint64_t offset, std::uint64_t bytes) const;
    /// Stores a word of every page again as it is, so that the page is dirty; whatever anybody else stores meanwhile
    /// stays. Writable mappings only.
    void touch(std::uint64_t offset, std::uint64_t bytes) noexcept;

    /// See base::trouble; 0 while all is well.
    [[nodiscard]] std::uint32_t& trouble() noexcept { return trouble_; }
    [[nodiscard]] bool has_faulted() const noexcept {
        return (base::trouble::load(trouble_) & base::trouble::faulted) != 0;
    }

private:
    mapping() noexcept = default;

    std::uint64_t bytes_ = 0;
    int fd_ = -1;  // the caller's, which outlives this
    std::uint32_t trouble_ = 0;
    std::string file_;
    // In this order: the guard goes before the memory that it guards, and that before its place may be given away.
    unforked_range unforked_;
    mapped_memory memory_;
    base::guarded_range guard_;
};

}  // namespace pmemstream::medium
