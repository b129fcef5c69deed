#pragma once

#include <pmemstream/result.hpp>

#include <fmt/format.h>
#include <string_view>
#include <utility>

// How the inside of the library makes errors.
namespace pmemstream::base {

/// An error whose sentence is formatted from the rest.
template <class... Args>
[[nodiscard]] tl::unexpected<error> failure(errc code, fmt::format_string<Args...> text, Args&&... args) {
    return tl::unexpected(error(code, fmt::format(text, std::forward<Args>(args)...)));
}

/// An error of the system: says what was tried and what the system answered. ENOENT, EACCES and their like get the
/// code that names them, ENOSPC and EDQUOT `no_space`, the rest `io`.
[[nodiscard]] tl::unexpected<error> system_failure(int system_error, std::string_view what);

template <class... Args>
[[nodiscard]] tl::unexpected<error> system_failure(int system_error, fmt::format_string<Args...> text, Args&&... args) {
    return system_failure(system_error, std::string_view(fmt::format(text, std::forward<Args>(args)...)));
}

}  // namespace pmemstream::base
