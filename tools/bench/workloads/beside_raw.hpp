#pragma once

#include "tools/bench/follower.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/settings.hpp"
#include "tools/bench/streams.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>

namespace bench {

/// A stream and a raw log in memory larger than the caches, so that appends to both go through it as a log does.
class beside_raw {
public:
    explicit beside_raw(const settings& how)
        : region_bytes_(how.bytes(96 * mib)),
          stream_(how.file, region_bytes_ + mib),
          file_(how.file.string() + ".raw", region_bytes_ + mib),
          writer_(must(pmemstream::writer::open(stream_.file()))),
          where_(must(writer_->allocate(region_bytes_, "measured"))),
          mapping_(file_.file(), access::write),
          raw_(mapping_.data()) {}

    [[nodiscard]] std::uint64_t region_bytes() const noexcept { return region_bytes_; }
    [[nodiscard]] const raw_log& raw() const noexcept { return raw_; }
    /// As many as fit.
    [[nodiscard]] std::uint64_t entries(std::uint64_t payload_bytes) const {
        const std::uint64_t fit = region_bytes_ / entry_bytes(payload_bytes);
        if (fit == 0)
            throw std::runtime_error("append: no entry of that size fits in the region");
        return fit;
    }
    /// ns per entry, in a region that was emptied.
    [[nodiscard]] double append(std::span<const std::byte> payload, std::uint64_t entries) {
        where_ = must(writer_->clear(where_));
        return append_many(*writer_, where_, payload, entries);
    }

private:
    static constexpr std::uint64_t mib = std::uint64_t{1} << 20;

    std::uint64_t region_bytes_;
    scratch_stream stream_;
    scratch_file file_;
    std::unique_ptr<pmemstream::writer> writer_;
    pmemstream::region where_;
    raw_mapping mapping_;
    raw_log raw_;
};

}  // namespace bench
