#pragma once

#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace pmemstream::test {

/// For models, which are used from more than one kind of test: throws std::runtime_error with a sentence unless it
/// holds.
template <class... Args>
void require(bool holds, fmt::format_string<Args...> text, Args&&... args) {
    if (!holds)
        throw std::runtime_error(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace pmemstream::test
