#include "src/medium/mapped_memory.hpp"

#include "src/base/checked.hpp"
#include "src/base/failure.hpp"

#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <cerrno>
#include <cstdlib>
#include <optional>

namespace pmemstream::medium {

namespace {

constexpr std::uint64_t page_bytes = 4096;

tl::unexpected<error> pmem2_failure(int code, const std::string& file, const char* step) {
    // Its own codes lie below PMEM2_E_UNKNOWN and come with a sentence; the others are errno values, negated.
    if (code <= PMEM2_E_UNKNOWN)
        return base::failure(errc::io, "{}: {}: {}", file, step, pmem2_errormsg());
    return base::system_failure(-code, "{}: {}", file, step);
}

granularity translate(pmem2_granularity value) noexcept {
    switch (value) {
        case PMEM2_GRANULARITY_BYTE:
            return granularity::byte;
        case PMEM2_GRANULARITY_CACHE_LINE:
            return granularity::cache_line;
        default:
            return granularity::page;
    }
}

}  // namespace

result<mapped_memory> mapped_memory::map(int fd, std::uint64_t bytes, access mode, const std::string& file) {
    struct stat st {};
    if (::fstat(fd, &st) != 0)
        return base::system_failure(errno, "{}: looking at it", file);
    // libpmem2 maps whole pages of files. Files are made of such; where one was cut to its stream's size, the kernel does.
    const std::uint64_t whole_pages = base::round_up(bytes, page_bytes);
    const bool has_pages = !S_ISBLK(st.st_mode) && static_cast<std::uint64_t>(st.st_size) >= whole_pages;
    return has_pages ? map_file(fd, whole_pages, mode, file) : map_plainly(fd, bytes, mode, file);
}

result<mapped_memory> mapped_memory::map_file(int fd, std::uint64_t bytes, access mode, const std::string& file) {
    pmem2_config* config = nullptr;
    pmem2_source* source = nullptr;
    mapped_memory self;
    const char* step = "preparing to map";
    int code = pmem2_config_new(&config);
    if (code == 0)
        code = pmem2_source_from_fd(&source, fd);
    if (code == 0)
        code = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
    if (code == 0)
        code = pmem2_config_set_length(config, bytes);
    if (code == 0 && mode == access::read)
        code = pmem2_config_set_protection(config, PMEM2_PROT_READ);
    if (code == 0) {
        step = "mapping";
        code = pmem2_map_new(&self.map_, config, source);
    }
    std::optional<error> failed;
    if (code != 0)
        failed = pmem2_failure(code, file, step).value();  // before another call changes its sentence
    pmem2_source_delete(&source);
    pmem2_config_delete(&config);
    if (failed)
        return tl::unexpected(std::move(*failed));
    self.data_ = static_cast<std::byte*>(pmem2_map_get_address(self.map_));
    self.bytes_ = bytes;
    self.flush_ = pmem2_get_flush_fn(self.map_);
    self.drain_ = pmem2_get_drain_fn(self.map_);
    self.copy_ = pmem2_get_memcpy_fn(self.map_);
    self.granularity_ = translate(pmem2_map_get_store_granularity(self.map_));
    self.forced_ = std::getenv("PMEM2_FORCE_GRANULARITY") != nullptr;
    return self;
}

result<mapped_memory> mapped_memory::map_plainly(int fd, std::uint64_t bytes, access mode, const std::string& file) {
    mapped_memory self;
    void* const got =
        ::mmap(nullptr, bytes, mode == access::write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (got == MAP_FAILED)
        return base::system_failure(errno, "{}: mapping", file);
    self.data_ = static_cast<std::byte*>(got);
    self.bytes_ = bytes;
    return self;
}

void mapped_memory::copy_past_caches(std::uint64_t offset, const void* from, std::size_t bytes) const noexcept {
    copy_(data_ + offset, from, bytes, PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_NODRAIN);
}

mapped_memory::~mapped_memory() {
    if (map_ != nullptr)
        pmem2_map_delete(&map_);
    else if (data_ != nullptr)
        ::munmap(data_, bytes_);
}

}  // namespace pmemstream::medium
