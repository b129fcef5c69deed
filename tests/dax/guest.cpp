#include "tests/dax/entries.hpp"
#include "tests/dax/log_replay.hpp"

#include <fmt/format.h>
#include <charconv>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

// The program that run.sh starts in the virtual machine.

namespace {

using namespace pmemstream;

constexpr const char* usage =
    "dax_guest append FILE UNTIL REPORT_EVERY [LOG_DEVICE]\n"
    "dax_guest check FILE LEAST\n"
    "dax_guest replay LOG IMAGE IMAGE_BYTES SEED COMMAND...\n";

std::uint64_t number(const std::string& text) {
    std::uint64_t value = 0;
    const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || rest != text.data() + text.size())
        throw std::invalid_argument(text + " is no number\n" + usage);
    return value;
}

void run(const std::vector<std::string>& words) {
    const std::string what = words.empty() ? "" : words[0];
    if (what == "append" && (words.size() == 4 || words.size() == 5) && number(words[3]) > 0)
        dax::append_entries(words[1], number(words[2]), number(words[3]), words.size() == 5 ? words[4] : "");
    else if (what == "check" && words.size() == 3)
        dax::check_entries(words[1], number(words[2]));
    else if (what == "replay" && words.size() > 5)
        dax::replay({.log = words[1],
                     .image = words[2],
                     .image_bytes = number(words[3]),
                     .seed = number(words[4]),
                     .command = {words.begin() + 5, words.end()}});
    else
        throw std::invalid_argument(usage);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        run({argv + 1, argv + argc});
        return 0;
    } catch (const std::exception& e) {
        fmt::print(stderr, "dax_guest: {}\n", e.what());
        return 1;
    }
}
