#include "tools/bench/progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace bench::progress_bar {

namespace {

struct state {
    bool shown = ::isatty(STDERR_FILENO) == 1;
    bool stands = false;
    std::size_t done = 0;
    std::size_t workloads = 1;
    std::string name;
};
state& bar() {
    static state one;
    return one;
}

void put(const std::string& text) {
    (void)!::write(STDERR_FILENO, text.data(), text.size());
}

void draw(const std::string& more) {
    if (!bar().shown)
        return;
    constexpr std::size_t width = 20;
    const std::size_t filled = width * bar().done / bar().workloads;
    put(fmt::format("\r\x1b[K[{:#<{}}{:.<{}}] {}/{} {:.50}", "", filled, "", width - filled, bar().done,
                    bar().workloads, bar().name + more));
    bar().stands = true;
}

}  // namespace

void begin(std::size_t done, std::size_t workloads, std::string name) {
    bar().done = done;
    bar().workloads = workloads;
    bar().name = std::move(name);
    draw("");
}

void round(unsigned done, unsigned of) {
    draw(fmt::format(" {}/{}", done + 1, of));
}

void clear() {
    if (bar().stands)
        put("\r\x1b[K");
    bar().stands = false;
}

}  // namespace bench::progress_bar
