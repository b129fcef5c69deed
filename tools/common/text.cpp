#include "tools/common/text.hpp"

#include <fmt/format.h>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <iterator>

namespace pmemstream::tools {

namespace {

std::optional<std::uint64_t> parse_to_base(std::string_view text, int base) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return value;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
    return parse_to_base(text, 10);
}

std::optional<std::uint64_t> parse_offset(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    return hexadecimal ? parse_to_base(text.substr(2), 16) : parse_to_base(text, 10);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const std::size_t digits = text.find_first_not_of("0123456789.");
    const std::string_view number = text.substr(0, digits);
    std::string_view unit = digits == std::string_view::npos ? std::string_view() : text.substr(digits);
    unsigned shift = 0;
    if (!unit.empty() && unit != "B") {
        static constexpr std::string_view letters = "KMGTkmgt";
        const std::size_t letter = letters.find(unit.front());
        if (letter == std::string_view::npos)
            return std::nullopt;
        shift = 10 * (static_cast<unsigned>(letter % 4) + 1);
        unit.remove_prefix(1);
        if (!unit.empty() && unit != "iB" && unit != "B")
            return std::nullopt;
    }
    if (const auto whole = parse_number(number)) {
        if (*whole > UINT64_MAX >> shift)
            return std::nullopt;
        return *whole << shift;
    }
    double fraction = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fraction);
    if (number.empty() || error != std::errc() || end != number.data() + number.size())
        return std::nullopt;
    const double bytes = std::ldexp(fraction, static_cast<int>(shift));
    if (!(bytes < 9.2e18))
        return std::nullopt;
    return static_cast<std::uint64_t>(bytes);
}

std::string bytes_for_people(std::uint64_t bytes) {
    static constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024)
        return fmt::format("{} B", bytes);
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    return value == std::floor(value) ? fmt::format("{:.0f} {}", value, units[unit])
                                      : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string time_for_people(std::uint64_t ns_since_epoch) {
    const auto seconds = static_cast<std::time_t>(ns_since_epoch / 1'000'000'000);
    std::tm parts{};
    if (::gmtime_r(&seconds, &parts) == nullptr)
        return fmt::format("{} s after 1970", seconds);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
}

namespace {

/// Length of the UTF-8 sequence at the front, 0 if there is none: no overlong forms, surrogates or values above
/// 0x10ffff.
std::size_t sequence_bytes(std::string_view text) noexcept {
    const auto at = [text](std::size_t i) -> unsigned { return static_cast<unsigned char>(text[i]); };
    const unsigned first = at(0);
    if (first < 0x80)
        return 1;
    const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < bytes)
        return 0;
    for (std::size_t i = 1; i < bytes; ++i)
        if ((at(i) & 0xc0) != 0x80)
            return 0;
    const unsigned second = at(1);
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f))
        return 0;
    return bytes;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
    while (!text.empty()) {
        const std::size_t bytes = sequence_bytes(text);
        if (bytes == 0)
            return false;
        text.remove_prefix(bytes);
    }
    return true;
}

std::string printable(std::string_view text) {
    std::string safe;
    while (!text.empty()) {
        const std::size_t bytes = sequence_bytes(text);
        const auto first = static_cast<unsigned char>(text.front());
        // The second control block (U+0080 to U+009F) moves terminals too.
        const bool control = first < 0x20 || first == 0x7f ||
                             (bytes == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
        const std::size_t taken = bytes == 0 ? 1 : bytes;
        if (bytes == 0 || control)
            for (const char c : text.substr(0, taken))
                fmt::format_to(std::back_inserter(safe), "\\x{:02x}", static_cast<unsigned char>(c));
        else
            safe += text.substr(0, taken);
        text.remove_prefix(taken);
    }
    return safe;
}

std::string to_base64(std::string_view bytes) {
    static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
        for (std::size_t k = 0; k < 4; ++k)
            text += i + k <= bytes.size() ? digits[group >> (18 - 6 * k) & 63] : '=';
    }
    return text;
}

}  // namespace pmemstream::tools
