#include "src/format/features.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/format/words.hpp"

#include <bit>

namespace pmemstream::format {

using base::failure;

result<feature_set> read_features(const feature_line& line, std::string_view file) {
    feature_set features;
    const auto read = [&](std::uint64_t word, std::uint32_t& into, const char* name, std::size_t at) -> result<void> {
        const auto flags = features_of(word);
        if (!flags)
            return failure(errc::corrupt, "{}: the header's word of {} features at offset {} is damaged: {:#x}", file,
                           name, header_offset + offsetof(shared_header, features) + at, word);
        into = *flags;
        return {};
    };
    if (auto done = read(base::load_acquire(line.compatible), features.compatible, "compatible",
                         offsetof(feature_line, compatible));
        !done)
        return tl::unexpected(std::move(done.error()));
    if (auto done = read(base::load_acquire(line.read_compatible), features.read_compatible, "read-compatible",
                         offsetof(feature_line, read_compatible));
        !done)
        return tl::unexpected(std::move(done.error()));
    if (auto done = read(base::load_acquire(line.incompatible), features.incompatible, "incompatible",
                         offsetof(feature_line, incompatible));
        !done)
        return tl::unexpected(std::move(done.error()));
    return features;
}

result<void> check_features(const feature_set& features, bool to_write, std::string_view file) {
    if (const std::uint32_t unknown = features.incompatible & ~known_features.incompatible; unknown != 0)
        return failure(errc::unsupported_format,
                       "{}: the stream has the incompatible feature {}, which this library does not know: a newer one "
                       "may read it",
                       file, std::countr_zero(unknown));
    if (const std::uint32_t unknown = features.read_compatible & ~known_features.read_compatible;
        to_write && unknown != 0)
        return failure(errc::unsupported_format,
                       "{}: the stream has the read-compatible feature {}, which this library does not know: it may "
                       "read the stream, not write it",
                       file, std::countr_zero(unknown));
    return {};
}

}  // namespace pmemstream::format
