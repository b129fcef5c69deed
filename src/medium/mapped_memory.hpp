#pragma once

#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

struct pmem2_map;

namespace pmemstream::medium {

enum class access : std::uint8_t { read, write };

/// A stream's bytes in memory, and how single stores to them are made durable, where that can be done. Two kinds: libpmem2
/// maps files of whole pages, and refuses block devices and other files.
class mapped_memory {
public:
    /// Maps the first `bytes` of `fd`, shared. `file` is for messages. Errors: io, no_permission.
    [[nodiscard]] static result<mapped_memory> map(int fd, std::uint64_t bytes, access mode, const std::string& file);

    mapped_memory() noexcept = default;
    mapped_memory(mapped_memory&& other) noexcept { swap(other); }
    mapped_memory& operator=(mapped_memory&& other) noexcept {
        swap(other);
        return *this;
    }
    ~mapped_memory();

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] pmemstream::granularity granularity() const noexcept { return granularity_; }
    /// PMEM2_FORCE_GRANULARITY decided, not the file. A device is not libpmem2's to force.
    [[nodiscard]] bool is_forced() const noexcept { return forced_; }
    /// Other than page granularity only.
    void flush(std::uint64_t offset, std::uint64_t bytes) const noexcept { flush_(data_ + offset, bytes); }
    void drain() const noexcept { drain_(); }
    void copy_past_caches(std::uint64_t offset, const void* from, std::size_t bytes) const noexcept;

private:
    [[nodiscard]] static result<mapped_memory> map_file(int fd, std::uint64_t bytes, access mode,
                                                        const std::string& file);
    [[nodiscard]] static result<mapped_memory> map_plainly(int fd, std::uint64_t bytes, access mode,
                                                           const std::string& file);
    void swap(mapped_memory& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        std::swap(map_, other.map_);
        std::swap(flush_, other.flush_);
        std::swap(drain_, other.drain_);
        std::swap(copy_, other.copy_);
        std::swap(granularity_, other.granularity_);
        std::swap(forced_, other.forced_);
    }

    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
    pmem2_map* map_ = nullptr;  // null: mapped plainly
    void (*flush_)(const void*, std::size_t) = nullptr;
    void (*drain_)() = nullptr;
    void* (*copy_)(void*, const void*, std::size_t, unsigned) = nullptr;
    pmemstream::granularity granularity_ = pmemstream::granularity::page;
    bool forced_ = false;
};

}  // namespace pmemstream::medium
