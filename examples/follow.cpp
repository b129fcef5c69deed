// A consumer that may be killed at any time: follows a region and writes every entry, as a line, to a file. After a
// restart it goes on at the entry after the last one it wrote out. What it wrote is its memory of where it stands, so
// the two cannot disagree.
//
//   follow STREAM REGION OUTPUT [TIMES]
//
// It waits for more until SIGTERM or SIGINT, then takes what is committed and leaves. TIMES: a file of 8-byte places,
// one per entry, into which it puts the moment at which it first had the entry, unless it was still catching up.
#include "time_file.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <pmemstream/pmemstream.hpp>
#include <string>

namespace {

volatile std::sig_atomic_t leave = 0;

int fail(const std::string& why) {
    std::fprintf(stderr, "follow: %s\n", why.c_str());
    return 1;
}

/// The whole lines in the output. A kill may have cut the last one: it is removed, and its entry is read again.
std::size_t lines_written(const std::string& file) {
    std::ifstream input(file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(input)), std::istreambuf_iterator<char>());
    const std::size_t whole_bytes = text.rfind('\n') + 1;  // npos + 1 is 0
    if (whole_bytes < text.size())
        std::filesystem::resize_file(file, whole_bytes);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// Gives the text to the system, where it survives the death of this process.
bool write_out(int fd, std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t written = ::write(fd, text.data() + done, text.size() - done);
        if (written < 0 && errno != EINTR)
            return false;
        done += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
    text.clear();
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4)
        return fail("usage: follow STREAM REGION OUTPUT [TIMES]");
    struct sigaction action {};
    action.sa_handler = [](int) { leave = 1; };
    ::sigaction(SIGTERM, &action, nullptr);
    ::sigaction(SIGINT, &action, nullptr);

    example::time_file times(argc > 4 ? argv[4] : "");
    const std::string output = argv[3];
    const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (out < 0)
        return fail(output + ": " + std::strerror(errno));
    const std::size_t already = lines_written(output);

    auto reader = pmemstream::reader::open(argv[1], {.name = std::filesystem::path(output).filename().string()});
    if (!reader)
        return fail(reader.error().message());
    auto region = reader->find(argv[2]);
    if (!region)
        return fail(region.error().message());
    auto cursor = reader->follow(*region, {.check_crc = true});
    if (!cursor)
        return fail(cursor.error().message());

    std::string text;
    bool catching_up = true;
    for (std::size_t number = 0;; ++number) {
        auto entry = cursor->next();
        while (entry && !*entry) {
            // Nothing more for now: what there is goes out before we sleep.
            if (!write_out(out, text))
                return fail(output + ": " + std::strerror(errno));
            if (leave)
                return 0;
            catching_up = false;
            entry = cursor->wait(std::chrono::milliseconds(100));
        }
        if (!entry)
            return fail(entry.error().message());
        if (number < already)
            continue;
        if (!catching_up)
            times.note(number);
        const auto payload = (*entry)->payload();
        text.append(reinterpret_cast<const char*>(payload.data()), payload.size());
        text.push_back('\n');
        if (!(*entry)->valid())
            return fail("the region was freed while it was read");
        if (text.size() >= std::size_t{64} << 10 && !write_out(out, text))
            return fail(output + ": " + std::strerror(errno));
    }
}
