#pragma once

#include "tools/bench/companion.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace bench {

/// What the appending process of a pair holds: a stream with one region, and the raw log beside it.
struct sending_side {
    enum class step_kind : std::uint64_t { clear, append, append_raw };

    sending_side(const std::filesystem::path& file, const std::filesystem::path& raw_file, std::uint64_t region_bytes)
        : to(must(pmemstream::writer::open(file))),
          where(must(to->allocate(region_bytes, "entries"))),
          raw(raw_file, access::write) {}

    /// Both begin anew; the other process is told the region's new handle.
    void clear(meeting& shared) {
        where = must(to->clear(where));
        tell(shared.from.data(), where);
        __atomic_store_n(raw_log(raw.data()).commit_offset, 0, __ATOMIC_RELEASE);
    }

    std::unique_ptr<pmemstream::writer> to;
    pmemstream::region where;
    raw_mapping raw;
    std::vector<std::byte> payload;
};

}  // namespace bench
