#include "tests/dax/log_replay.hpp"

#include "tests/support/require.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <system_error>
#include <utility>

namespace pmemstream::dax {

namespace {

using test::require;

// The log's format is the kernel's: drivers/md/dm-log-writes.c. A first sector with the header; then for each entry a
// sector that describes it, and the data.
constexpr std::uint64_t log_magic = 0x6a736677736872;
constexpr std::uint64_t log_version = 1;
enum log_flag : std::uint64_t { flag_flush = 1, flag_fua = 2, flag_discard = 4, flag_mark = 8 };

struct log_header {
    std::uint64_t magic = 0;
    std::uint64_t version = 0;
    std::uint64_t entries = 0;
    std::uint32_t sector_bytes = 0;
};
struct log_entry {
    std::uint64_t sector = 0;
    std::uint64_t sectors = 0;
    std::uint64_t flags = 0;
    std::uint64_t data_bytes = 0;  // a mark's
};

struct disk_event {
    std::uint64_t flags = 0;
    std::uint64_t offset = 0;
    std::vector<char> data;
    std::string mark;
};

template <class T>
T read_struct(std::istream& from) {
    T value;
    from.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
}

std::vector<disk_event> read_log(const replay_request& what) {
    std::ifstream from(what.log, std::ios::binary);
    const auto header = read_struct<log_header>(from);
    require(from && header.magic == log_magic && header.version == log_version,
            "{}: at offset 0 there is no log of dm-log-writes, version {}", what.log.string(), log_version);
    std::vector<disk_event> events;
    std::uint64_t at = header.sector_bytes;
    for (std::uint64_t i = 0; i < header.entries; ++i) {
        from.seekg(static_cast<std::streamoff>(at));
        const auto entry = read_struct<log_entry>(from);
        disk_event made{.flags = entry.flags, .offset = entry.sector * header.sector_bytes, .data = {}, .mark = {}};
        if ((entry.flags & flag_mark) != 0) {
            made.mark.resize(entry.data_bytes);
            from.read(made.mark.data(), static_cast<std::streamsize>(entry.data_bytes));
        }
        const std::uint64_t bytes = entry.sectors * header.sector_bytes;
        require(from && made.offset <= what.image_bytes && bytes <= what.image_bytes - made.offset,
                "{}: entry {} at offset {} writes {} bytes at {}, beyond the disk", what.log.string(), i, at, bytes,
                made.offset);
        made.data.resize(bytes);  // a discard's are zeros, and not in the log
        at += header.sector_bytes;
        if ((entry.flags & flag_discard) == 0) {
            from.seekg(static_cast<std::streamoff>(at));
            from.read(made.data.data(), static_cast<std::streamsize>(bytes));
            at += bytes;
        }
        require(bool(from), "{}: entry {} is cut short at offset {}", what.log.string(), i, at);
        events.push_back(std::move(made));
    }
    return events;
}

/// The exit code, or 128 and the signal.
int run_command(const replay_request& what, const std::string& promised) {
    std::vector<std::string> words = what.command;
    words.push_back(what.image.string());
    words.push_back(promised);
    std::vector<char*> arguments;
    for (auto& word : words)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }
    int status = 0;
    if (pid < 0 || ::waitpid(pid, &status, 0) != pid)
        throw std::system_error(errno, std::generic_category(), what.command[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class replayer {
public:
    explicit replayer(const replay_request& what) : what_(what), random_(what.seed), disk_(what.image_bytes) {}

    void run() {
        std::uint64_t flushes = 0;
        for (auto& event : read_log(what_)) {
            if ((event.flags & flag_flush) != 0) {
                ++flushes;
                flushed();
            }
            since_.push_back(std::move(event));
        }
        flushed();
        require(tried_at_ > 0 && tried_between_ > 0, "the log has no flush behind its first mark");
        fmt::print("{} power losses: {} at one of {} flushes, {} between two; up to {} entries promised\n",
                   tried_at_ + tried_between_, tried_at_, flushes, tried_between_, promised_);
    }

private:
    static void apply(const disk_event& event, std::vector<char>& to) {
        std::memcpy(to.data() + event.offset, event.data.data(), event.data.size());
    }

    /// What was written since the last flush is on the disk now. Before that, anything of it may have been.
    void flushed() {
        std::size_t writes = 0;
        for (const auto& event : since_)
            writes += event.data.empty() ? 0 : 1;
        for (unsigned n = 0; n < what_.samples && writes > 1; ++n)
            lose_power_between();
        for (const auto& event : since_) {
            apply(event, disk_);
            take_mark(event, promised_);
        }
        since_.clear();
        if (writes > 0)
            lose_power(disk_, promised_, tried_at_);
    }

    void lose_power_between() {
        auto disk = disk_;
        auto promised = promised_;
        const auto cut = 1 + random_() % since_.size();
        for (std::size_t i = 0; i < cut; ++i) {
            take_mark(since_[i], promised);
            if ((since_[i].flags & flag_fua) != 0 || random_() % 2 != 0)
                apply(since_[i], disk);
        }
        lose_power(disk, promised, tried_between_);
    }

    static void take_mark(const disk_event& event, std::string& promised) {
        if ((event.flags & flag_mark) != 0 && event.mark != "dm-log-writes-end")
            promised = event.mark;
    }

    void lose_power(const std::vector<char>& disk, const std::string& promised, std::uint64_t& counter) {
        if (promised.empty())
            return;
        std::ofstream to(what_.image, std::ios::binary | std::ios::trunc);
        to.write(disk.data(), static_cast<std::streamsize>(disk.size()));
        to.close();
        require(bool(to), "{}: cannot be written", what_.image.string());
        ++counter;
        const int code = run_command(what_, promised);
        require(code == 0, "power loss {} (seed {}): {} {} {} exits with {}", tried_at_ + tried_between_, what_.seed,
                what_.command[0], what_.image.string(), promised, code);
    }

    const replay_request& what_;
    std::mt19937_64 random_;
    std::vector<char> disk_;
    std::vector<disk_event> since_;
    std::string promised_;  // by the last mark
    std::uint64_t tried_at_ = 0;
    std::uint64_t tried_between_ = 0;
};

}  // namespace

void replay(const replay_request& what) {
    replayer(what).run();
}

}  // namespace pmemstream::dax
