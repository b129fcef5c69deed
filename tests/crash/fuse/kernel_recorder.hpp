#pragma once

#include "src/base/unique_fd.hpp"
#include "src/medium/seam.hpp"
#include "tests/crash/enumerator/recorder.hpp"
#include "tests/crash/fuse/watched_fs.hpp"

#include <cstdint>
#include <mutex>
#include <random>
#include <set>
#include <vector>

namespace pmemstream::test {

/// Writes down what the kernel tells the disk while writers work on files of a watched_fs. Of the stores in between only
/// their sum is known, at every mark. Any number of threads, one of which marks.
///
/// Nobody waits half a minute for the kernel to write pages back unasked, so it is told to, by chance: some pages,
/// before a sync and in the middle of calls (where the library could be killed), without any sync.
class kernel_recorder : public medium::observer, public recorder {
public:
    kernel_recorder(watched_fs& fs, std::uint64_t seed);
    ~kernel_recorder() override;
    kernel_recorder(const kernel_recorder&) = delete;
    kernel_recorder& operator=(const kernel_recorder&) = delete;

    void begin(trace& to, const mapped_file& file, image content) override;
    void end() override;
    void mark(std::uint64_t state) override;

    int sync(const medium::mapping& m, std::span<const medium::mapping::range> ranges) override;

    [[nodiscard]] std::uint64_t writes() const { return writes_; }
    [[nodiscard]] std::uint64_t syncs() const { return syncs_; }

private:
    void write_some_back();
    [[nodiscard]] std::vector<trace_event> changes();
    void read_log(const std::vector<trace_event>& before_mark);
    void add(const fs_event& event, const std::byte* content);

    watched_fs& fs_;
    std::mutex random_mutex_;  // of threads that persist at once
    std::mt19937_64 random_;
    trace* to_ = nullptr;
    const mapped_file* file_ = nullptr;
    base::unique_fd fd_;
    image content_;
    std::set<std::uint64_t> inodes_;  // that were recorded on
    std::uint64_t inode_ = 0;         // that is
    std::uint64_t position_ = 0;      // in the log
    std::uint64_t writes_ = 0;
    std::uint64_t syncs_ = 0;
};

}  // namespace pmemstream::test
