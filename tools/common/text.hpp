#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pmemstream::tools {

/// "4096", "64K", "64M", "1.5G", "1GiB": factors of 1024. Nothing for anything else.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

/// "512 B", "1.5 MiB".
[[nodiscard]] std::string bytes_for_people(std::uint64_t bytes);

/// Decimal, no sign, nothing behind it.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

/// The same, or hexadecimal behind 0x.
[[nodiscard]] std::optional<std::uint64_t> parse_offset(std::string_view text);

/// UTC, to the second.
[[nodiscard]] std::string time_for_people(std::uint64_t ns_since_epoch);

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// With control characters and what is not UTF-8 written as \xNN: safe on a terminal, and one line.
[[nodiscard]] std::string printable(std::string_view text);

[[nodiscard]] std::string to_base64(std::string_view bytes);

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace pmemstream::tools
