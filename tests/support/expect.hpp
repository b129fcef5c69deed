#pragma once

#include <pmemstream/result.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace pmemstream::test {

/// "ok", or the name of the error's code: what tests compare, so that a failure reads well.
template <class T>
[[nodiscard]] std::string code_of(const result<T>& got) {
    return got ? "ok" : std::string(to_string(got.error().code()));
}

template <class T>
[[nodiscard]] std::string message_of(const result<T>& got) {
    return got ? std::string() : got.error().message();
}

[[noreturn]] inline void give_up(const std::string& message) {
    throw std::runtime_error("a step of the preparation failed: " + message);
}

/// The value of a step that the test only builds upon.
template <class T>
T must(result<T> got) {
    if (!got)
        give_up(got.error().message());
    return std::move(*got);
}
inline void must(const result<void>& got) {
    if (!got)
        give_up(got.error().message());
}

}  // namespace pmemstream::test
