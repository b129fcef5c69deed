#include "tools/common/progress.hpp"

#include "tools/common/text.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <string>

namespace pmemstream::tools {

namespace {

bool line_stands = false;

void put(std::string_view text) {
    (void)!::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

progress::progress(bool shown) : shown_(shown && ::isatty(STDERR_FILENO) == 1) {}

void progress::draw(std::uint64_t entries, std::uint64_t bytes) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_)
        return;
    next_ = now + std::chrono::milliseconds(200);
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double rate = seconds > 0.1 ? static_cast<double>(entries) / seconds : 0;
    put(fmt::format("\r\x1b[K{} entries, {}, {:.0f} entries/s", entries, bytes_for_people(bytes), rate));
    line_stands = true;
}

void progress::clear_line() {
    if (line_stands)
        put("\r\x1b[K");
    line_stands = false;
}

}  // namespace pmemstream::tools
