#include <pmemstream/stream.hpp>

#include <fmt/format.h>
#include <iterator>

namespace pmemstream {

std::string to_string(const uuid& value) {
    std::string text;
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(value[i]));
    }
    return text;
}

std::string_view to_string(granularity value) noexcept {
    switch (value) {
        case granularity::byte:
            return "byte";
        case granularity::cache_line:
            return "cache line";
        case granularity::page:
            return "page";
    }
    return "unknown";
}

std::string_view to_string(page_sync value) noexcept {
    switch (value) {
        case page_sync::automatic:
            return "automatic";
        case page_sync::system_calls:
            return "system_calls";
        case page_sync::io_uring:
            return "io_uring";
    }
    return "unknown";
}

}  // namespace pmemstream
