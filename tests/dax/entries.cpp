#include "tests/dax/entries.hpp"

#include "src/base/unique_fd.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/require.hpp"

#include <pmemstream/pmemstream.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>
#include <vector>

namespace pmemstream::dax {

namespace {

using namespace pmemstream::test;

constexpr const char* region_name = "log";

/// Of 8 bytes to 3 KiB: its number, and bytes that follow from it.
std::vector<std::byte> payload_of(std::uint64_t number) {
    std::vector<std::byte> made(8 + number * 797 % 3000);
    std::memcpy(made.data(), &number, sizeof number);
    for (std::size_t i = 8; i < made.size(); ++i)
        made[i] = static_cast<std::byte>(number * 31 + i * 7);
    return made;
}

/// Throws at the first entry that is not as it was appended.
std::uint64_t count_entries(const std::filesystem::path& file) {
    const auto from = must(reader::open(file, {.name = {}, .without_control = true}));
    const auto where = from.find(region_name);
    if (!where)
        return 0;
    auto cursor = must(from.follow(*where, {.check_crc = true}));
    std::uint64_t count = 0;
    for (const entry& e : cursor) {
        const auto expected = payload_of(count);
        require(std::equal(expected.begin(), expected.end(), e.payload().begin(), e.payload().end()),
                "{}: entry {} (sequence {}) is not what was appended", file.string(), count, to_uint(e.sequence()));
        ++count;
    }
    must(cursor.status());
    return count;
}

void mark(const base::unique_fd& control, const std::string& device, const std::string& text) {
    const std::string message = "mark " + text;
    alignas(dm_ioctl) std::byte buffer[1024] = {};
    auto& head = *reinterpret_cast<dm_ioctl*>(buffer);
    auto& target = *reinterpret_cast<dm_target_msg*>(buffer + sizeof head);
    head.version[0] = DM_VERSION_MAJOR;
    head.data_size = sizeof buffer;
    head.data_start = sizeof head;
    require(device.size() < sizeof head.name && message.size() < 256, "too long: {}", device);
    std::memcpy(head.name, device.c_str(), device.size() + 1);
    std::memcpy(target.message, message.c_str(), message.size() + 1);
    if (::ioctl(control.get(), DM_TARGET_MSG, buffer) != 0)
        throw std::system_error(errno, std::generic_category(), "marking the log of " + device);
}

std::unique_ptr<writer> open_or_make(const std::filesystem::path& file) {
    if (!std::filesystem::exists(file))
        must(create(file, {.stream_bytes = std::filesystem::space(file.parent_path()).available / 2}));
    return must(writer::open(file, {.control_mode = {}, .without_control = true}));
}

}  // namespace

void append_entries(const std::filesystem::path& file, std::uint64_t until, std::uint64_t report_every,
                    const std::string& log_device) {
    base::unique_fd control;
    if (!log_device.empty()) {
        control = base::unique_fd(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
        if (!control)
            throw std::system_error(errno, std::generic_category(), "/dev/mapper/control");
    }
    const auto to = open_or_make(file);
    auto where = to->find(region_name);
    if (!where)
        where = to->allocate(to->info().stream_bytes * 3 / 4, region_name);
    must(where);
    for (auto count = count_entries(file); count < until;) {
        must(to->append(*where, payload_of(count), horizon::persisted));
        ++count;
        if (count % report_every != 0)
            continue;
        if (control)
            mark(control, log_device, fmt::format("{}", count));
        fmt::print("persisted {}\n", count);
        std::fflush(stdout);
    }
    must(to->close());
}

void check_entries(const std::filesystem::path& file, std::uint64_t least) {
    if (least == 0 && !std::filesystem::exists(file)) {
        fmt::print("no stream yet\n");
        return;
    }
    const auto seen = count_entries(file);  // as far as commit offsets say, before anybody recovers
    const auto to = must(writer::open(file, {.control_mode = {}, .without_control = true}));
    const auto kept = count_entries(file);
    require(kept >= least, "{}: {} entries, but {} were reported persisted", file.string(), kept, least);
    const auto& found = to->recovery();
    static constexpr const char* states[] = {"clean", "process died", "rescanned"};
    fmt::print("{} entries, {} reported persisted; {}: {} found beyond the persisted offset, {} seen before\n", kept,
               least, states[static_cast<unsigned>(found.found)], found.entries_recovered, seen);
    if (const auto where = to->find(region_name)) {
        must(to->append(*where, payload_of(kept), horizon::persisted));
        require(count_entries(file) == kept + 1, "{}: an append after the crash is not there", file.string());
    }
    must(to->close());
}

}  // namespace pmemstream::dax
