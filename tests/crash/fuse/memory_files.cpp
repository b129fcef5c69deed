#define FUSE_USE_VERSION 312
#include "tests/crash/fuse/memory_files.hpp"

#include <fcntl.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>

// Single-threaded: requests are answered one after the other, so the log's order is the kernel's. Nothing here throws but
// for lack of memory, and then the process may as well end.
namespace pmemstream::test {

namespace {

struct memory_file {
    std::uint32_t inode = 0;
    mode_t mode = 0600;
    std::vector<std::byte> content;
    bool is_log = false;
};
using file_ref = std::shared_ptr<memory_file>;  // files live on while they are open

constexpr unsigned answer_seconds_max = 60;
constexpr std::uint32_t root_inode = 1;
constexpr std::uint32_t log_inode = 2;

std::map<std::string, file_ref> files;
std::vector<std::byte> events;
int write_error = 0;  // an errno value: what writes are answered with that begin before the next
off_t write_error_below = 0;
std::uint32_t last_inode = log_inode;

/// A server that hangs would take whoever uses its files with it, beyond the reach of SIGKILL.
class on_time {
public:
    on_time() { ::alarm(answer_seconds_max); }
    ~on_time() { ::alarm(0); }
    on_time(const on_time&) = delete;
    on_time& operator=(const on_time&) = delete;
};

void note(const fs_event& event, const std::byte* content = nullptr) {
    const auto* const begin = reinterpret_cast<const std::byte*>(&event);
    events.insert(events.end(), begin, begin + sizeof event);
    if (content != nullptr)
        events.insert(events.end(), content, content + event.bytes);
}

file_ref find(const char* path) {
    const auto found = files.find(path);
    return found == files.end() ? nullptr : found->second;
}
file_ref& opened(const fuse_file_info* info) {
    return *reinterpret_cast<file_ref*>(info->fh);
}
/// The one that is open, or the one of that name.
file_ref either(const char* path, const fuse_file_info* info) {
    return info != nullptr && info->fh != 0 ? opened(info) : find(path);
}

void* on_init(fuse_conn_info* connection, fuse_config* config) {
    // Also what is written with write(2) stays in the page cache until it is synced or written back.
    connection->want |= connection->capable & FUSE_CAP_WRITEBACK_CACHE;
    config->use_ino = 1;
    config->hard_remove = 1;
    config->nullpath_ok = 1;
    config->kernel_cache = 1;
    return nullptr;
}

int on_getattr(const char* path, struct stat* to, fuse_file_info* info) {
    const on_time guard;
    *to = {};
    to->st_uid = ::geteuid();
    to->st_gid = ::getegid();
    if (path != nullptr && std::strcmp(path, "/") == 0) {
        to->st_mode = S_IFDIR | 0700;
        to->st_nlink = 2;
        to->st_ino = root_inode;
        return 0;
    }
    const auto file = either(path, info);
    if (file == nullptr)
        return -ENOENT;
    to->st_mode = S_IFREG | file->mode;
    to->st_nlink = 1;
    to->st_ino = file->inode;
    to->st_size = static_cast<off_t>(file->content.size());
    to->st_blocks = (to->st_size + 511) / 512;
    return 0;
}

int on_open(const char* path, fuse_file_info* info) {
    const on_time guard;
    const auto file = find(path);
    if (file == nullptr)
        return -ENOENT;
    info->fh = reinterpret_cast<std::uintptr_t>(new file_ref(file));
    info->direct_io = file->is_log ? 1 : 0;
    return 0;
}

int on_create(const char* path, mode_t mode, fuse_file_info* info) {
    const on_time guard;
    auto file = std::make_shared<memory_file>();
    file->inode = ++last_inode;
    file->mode = mode & 07777;
    files[path] = file;
    info->fh = reinterpret_cast<std::uintptr_t>(new file_ref(std::move(file)));
    return 0;
}

int on_release(const char*, fuse_file_info* info) {
    const on_time guard;
    delete &opened(info);
    return 0;
}

int on_read(const char*, char* to, std::size_t bytes, off_t from, fuse_file_info* info) {
    const on_time guard;
    const auto& content = opened(info)->is_log ? events : opened(info)->content;
    const auto begin = std::min(static_cast<std::size_t>(from), content.size());
    const auto taken = std::min(bytes, content.size() - begin);
    std::memcpy(to, content.data() + begin, taken);
    return static_cast<int>(taken);
}

int on_write(const char*, const char* from, std::size_t bytes, off_t at, fuse_file_info* info) {
    const on_time guard;
    auto& file = *opened(info);
    if (file.is_log) {
        fs_event mark{.what = fs_event::kind::mark};
        if (bytes != sizeof mark.offset)
            return -EINVAL;
        std::memcpy(&mark.offset, from, bytes);
        if (at == refusal_offset) {
            write_error = static_cast<int>(mark.offset & 0xffff'ffff);
            write_error_below = static_cast<off_t>(mark.offset >> 32);
        } else {
            note(mark);
        }
        return static_cast<int>(bytes);
    }
    if (write_error != 0 && at < write_error_below)
        return -write_error;
    const auto begin = static_cast<std::size_t>(at);
    file.content.resize(std::max(file.content.size(), begin + bytes));
    std::memcpy(file.content.data() + begin, from, bytes);
    note({fs_event::kind::write, file.inode, begin, bytes}, file.content.data() + begin);
    return static_cast<int>(bytes);
}

int on_fsync(const char*, int, fuse_file_info* info) {
    const on_time guard;
    note({.what = fs_event::kind::sync_begins, .file = opened(info)->inode});
    note({.what = fs_event::kind::sync_done, .file = opened(info)->inode});
    return 0;
}

int on_truncate(const char* path, off_t size, fuse_file_info* info) {
    const on_time guard;
    const auto file = either(path, info);
    if (file == nullptr)
        return -ENOENT;
    if (file->is_log)
        events.clear();
    else
        file->content.resize(static_cast<std::size_t>(size));
    return 0;
}

int on_fallocate(const char*, int mode, off_t from, off_t bytes, fuse_file_info* info) {
    const on_time guard;
    if (mode != 0)
        return -EOPNOTSUPP;
    auto& content = opened(info)->content;
    content.resize(std::max(content.size(), static_cast<std::size_t>(from + bytes)));
    return 0;
}

int on_rename(const char* from, const char* to, unsigned flags) {
    const on_time guard;
    if ((flags & ~unsigned{RENAME_NOREPLACE}) != 0)
        return -EINVAL;
    if ((flags & RENAME_NOREPLACE) != 0 && find(to) != nullptr)
        return -EEXIST;
    auto moved = files.extract(from);
    if (moved.empty())
        return -ENOENT;
    files.erase(to);
    moved.key() = to;
    files.insert(std::move(moved));
    return 0;
}

int on_unlink(const char* path) {
    const on_time guard;
    return files.erase(path) == 0 ? -ENOENT : 0;
}

int on_chmod(const char* path, mode_t mode, fuse_file_info* info) {
    const on_time guard;
    const auto file = either(path, info);
    if (file == nullptr)
        return -ENOENT;
    file->mode = mode & 07777;
    return 0;
}

/// The kernel, which keeps the times of files that it caches, hands them over now and then.
int on_utimens(const char*, const timespec*, fuse_file_info*) {
    return 0;
}

int on_readdir(const char*, void* to, fuse_fill_dir_t fill, off_t, fuse_file_info*, fuse_readdir_flags) {
    const on_time guard;
    for (const auto& [path, file] : files)
        (void)fill(to, path.c_str() + 1, nullptr, 0, fuse_fill_dir_flags{});
    return 0;
}

fuse_operations operations() {
    fuse_operations all{};
    all.init = on_init;
    all.getattr = on_getattr;
    all.open = on_open;
    all.create = on_create;
    all.release = on_release;
    all.read = on_read;
    all.write = on_write;
    all.fsync = on_fsync;
    all.truncate = on_truncate;
    all.fallocate = on_fallocate;
    all.rename = on_rename;
    all.unlink = on_unlink;
    all.chmod = on_chmod;
    all.utimens = on_utimens;
    all.readdir = on_readdir;
    return all;
}

}  // namespace

int serve_memory_files(const char* directory, const record_pipe& mounted) {
    auto log = std::make_shared<memory_file>();
    log->inode = log_inode;
    log->is_log = true;
    files["/.log"] = std::move(log);

    char name[] = "watched_fs";
    char* arguments[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, arguments);
    const auto all = operations();
    fuse* const server = fuse_new(&args, &all, sizeof all, nullptr);
    if (server == nullptr || fuse_mount(server, directory) != 0)
        return 1;
    mounted.write(1);
    const int code = fuse_loop(server);
    fuse_unmount(server);
    fuse_destroy(server);
    return code == 0 ? 0 : 1;
}

}  // namespace pmemstream::test
