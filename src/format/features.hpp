#pragma once

#include "src/format/layout.hpp"

#include <pmemstream/result.hpp>

#include <cstdint>
#include <string_view>

// What a stream needs of a program, beyond its format version: three words of 32 flags each. docs/format-evolution.md says
// how a later version adds one.
namespace pmemstream::format {

struct feature_set {
    std::uint32_t compatible = 0;       ///< who does not know one may read and write all the same
    std::uint32_t read_compatible = 0;  ///< who does not know one may read
    std::uint32_t incompatible = 0;     ///< who does not know one can do nothing

    friend bool operator==(const feature_set&, const feature_set&) = default;
};

// Those that this library knows, and those that its writers raise. None is defined yet.
#ifdef PMEMSTREAM_TEST_HOOKS
inline feature_set known_features;   // set while no stream is open
inline feature_set raised_features;  // likewise
#else
inline constexpr feature_set known_features;
inline constexpr feature_set raised_features;
#endif

/// What the three words say. Errors: corrupt (a word's CRC).
[[nodiscard]] result<feature_set> read_features(const feature_line& line, std::string_view file);

/// Whether this library may open a stream with these features. Errors: unsupported_format, which names the first flag that
/// is not known.
[[nodiscard]] result<void> check_features(const feature_set& features, bool to_write, std::string_view file);

}  // namespace pmemstream::format
