#include "src/medium/mapping.hpp"

#include "src/base/failure.hpp"

#include <libpmem2.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>

namespace pmemstream::medium {

namespace {

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

result<std::unique_ptr<mapping>> mapping::map(int fd, std::uint64_t bytes, access mode, std::string file) {
    pmem2_config* config = nullptr;
    pmem2_source* source = nullptr;
    const auto cleanup = [&] {
        pmem2_source_delete(&source);
        pmem2_config_delete(&config);
    };
    const auto fail = [&](int code, const char* step) {
        auto failed = pmem2_failure(code, file, step);
        cleanup();
        return failed;
    };
    if (const int code = pmem2_config_new(&config); code != 0)
        return fail(code, "preparing to map");
    if (const int code = pmem2_source_from_fd(&source, fd); code != 0)
        return fail(code, "preparing to map");
    if (const int code = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE); code != 0)
        return fail(code, "preparing to map");
    if (const int code = pmem2_config_set_length(config, bytes); code != 0)
        return fail(code, "preparing to map");
    if (mode == access::read)
        if (const int code = pmem2_config_set_protection(config, PMEM2_PROT_READ); code != 0)
            return fail(code, "preparing to map");

    std::unique_ptr<mapping> self(new mapping);
    if (const int code = pmem2_map_new(&self->map_, config, source); code != 0)
        return fail(code, "mapping");
    cleanup();
    self->data_ = static_cast<std::byte*>(pmem2_map_get_address(self->map_));
    self->bytes_ = bytes;
    self->granularity_ = translate(pmem2_map_get_store_granularity(self->map_));
    self->granularity_forced_ = std::getenv("PMEM2_FORCE_GRANULARITY") != nullptr;
    self->file_ = std::move(file);
    self->guard_ = base::guarded_range(self->data_, bytes, mode == access::write, &self->trouble_);
    // A child must not write to its parent's stream by accident.
    if (mode == access::write)
        if (const int code = self->unforked_.cover(self->data_, bytes); code != 0)
            return base::system_failure(code, "{}: keeping the mapping from forked children", self->file_);
    return self;
}

mapping::~mapping() {
    guard_ = {};
    if (map_ != nullptr)
        pmem2_map_delete(&map_);
}

result<void> mapping::persist(std::uint64_t offset, std::uint64_t bytes) noexcept {
    if (bytes == 0)
        return {};
    if (granularity_ != granularity::page) {
        pmem2_get_persist_fn(map_)(data_ + offset, bytes);
        return {};
    }
    // libpmem2's own function ends the process when msync fails, so it is called directly.
    static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t begin = offset & ~(page - 1);
    if (::msync(data_ + begin, offset + bytes - begin, MS_SYNC) != 0)
        return base::system_failure(errno, "{}: making {} bytes at offset {} durable", file_, bytes, offset);
    return {};
}

}  // namespace pmemstream::medium
