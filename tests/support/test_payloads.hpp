#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pmemstream::test {

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

[[nodiscard]] inline std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// SplitMix64: one well-mixed word per state.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t value) noexcept {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

/// The content that entry `number` of a test must have: any byte of another entry in it would show.
[[nodiscard]] inline std::vector<std::byte> numbered_payload(std::uint64_t seed, std::uint64_t number,
                                                             std::size_t bytes) {
    std::vector<std::byte> payload(bytes);
    std::uint64_t state = mixed(seed ^ mixed(number));
    for (std::size_t i = 0; i < bytes; ++i) {
        if (i % 8 == 0)
            state = mixed(state);
        payload[i] = static_cast<std::byte>(state >> (i % 8 * 8));
    }
    return payload;
}

}  // namespace pmemstream::test
