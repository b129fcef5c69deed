#pragma once

#include "src/base/fault_registry.hpp"
#include "src/base/trouble.hpp"
#include "src/medium/unforked_range.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct pmem2_map;

namespace pmemstream::medium {

enum class access : std::uint8_t { read, write };

/// A stream's file in memory, and how stores to it become durable there. The only user of libpmem2.
/// Thread safety: all but destruction.
class mapping {
public:
    /// Maps the first `bytes` of `fd`, shared; `fd` stays open as long as this lives. `file` is for messages. Errors: io, no_permission.
    [[nodiscard]] static result<std::unique_ptr<mapping>> map(int fd, std::uint64_t bytes, access mode,
                                                              std::string file);
    ~mapping();
    mapping(const mapping&) = delete;
    mapping& operator=(const mapping&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] pmemstream::granularity granularity() const noexcept { return granularity_; }
    /// PMEM2_FORCE_GRANULARITY decided, not the file.
    [[nodiscard]] bool granularity_forced() const noexcept { return granularity_forced_; }

    /// Makes `bytes` from `offset` durable: flush() and drain(), or sync(), whichever this medium has. Errors: io,
    /// no_space (a file system that copies on write); nothing is known of the range then.
    [[nodiscard]] result<void> persist(std::uint64_t offset, std::uint64_t bytes) noexcept;

    /// Whether single stores can be made durable (flush, drain) or only pages can (sync).
    [[nodiscard]] bool flushes() const noexcept { return granularity_ != pmemstream::granularity::page; }
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

    /// See base::trouble; 0 while all is well.
    [[nodiscard]] std::uint32_t& trouble() noexcept { return trouble_; }
    [[nodiscard]] bool has_faulted() const noexcept {
        return (base::trouble::load(trouble_) & base::trouble::faulted) != 0;
    }

private:
    mapping() noexcept = default;

    std::byte* data_ = nullptr;
    std::uint64_t bytes_ = 0;
    pmem2_map* map_ = nullptr;
    int fd_ = -1;  // the caller's, which outlives this
    void (*flush_)(const void*, std::size_t) = nullptr;
    void (*drain_)() = nullptr;
    pmemstream::granularity granularity_ = pmemstream::granularity::page;
    bool granularity_forced_ = false;
    std::uint32_t trouble_ = 0;
    std::string file_;
    base::guarded_range guard_;
    unforked_range unforked_;
};

}  // namespace pmemstream::medium
