#pragma once

#include "src/base/unique_fd.hpp"
#include "tests/support/child.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace pmemstream::test {

/// What the kernel asked a watched_fs to do, or a mark of the test's. Behind a write stand its bytes.
struct fs_event {
    enum class kind : std::uint32_t {
        write,
        sync_begins,  ///< the kernel asks; what was written before is durable...
        sync_done,    ///< ...once this is answered
        mark,         ///< `offset` is its number
    };
    kind what = kind::write;
    std::uint32_t file = 0;  ///< inode
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
};

/// A file system in the memory of a process of its own (FUSE), mounted at a directory, that writes down every WRITE and
/// FSYNC in the order in which the kernel issues them.
///
/// That is what a disk under a real file system is told: a store to a mapped file stays in the page cache until the
/// kernel writes the page back, of its own accord or because somebody syncs. Marks and the log pass through the same
/// queue of requests (the file ".log"), so a mark stands where it was made, between the requests before and after it.
///
/// When the process goes, however it does, everything on its files fails at once (ENOTCONN, SIGBUS); a request that is
/// not answered within a minute ends it.
class watched_fs {
public:
    /// Mounts it; throws std::runtime_error with a sentence. The process has one thread.
    explicit watched_fs(std::filesystem::path directory);
    ~watched_fs();
    watched_fs(const watched_fs&) = delete;
    watched_fs& operator=(const watched_fs&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void mark(std::uint64_t number);
    /// Everything from byte `from` of the log on; `from` moves behind it.
    [[nodiscard]] std::vector<std::byte> log(std::uint64_t& from) const;
    /// The log begins anew.
    void forget();
    /// From now on what the kernel writes is answered with this errno value, if it begins below that offset; 0: it is taken.
    void refuse_writes(int error, std::uint32_t below = ~std::uint32_t{0});
    /// As if its disk were pulled out.
    void kill_server();

private:
    std::filesystem::path path_;
    std::unique_ptr<child> server_;
    base::unique_fd log_;
};

}  // namespace pmemstream::test
