#pragma once

#include "src/base/unique_fd.hpp"

#include <pmemstream/result.hpp>

#include <sys/stat.h>
#include <sys/types.h>
#include <cstdint>
#include <string>

namespace pmemstream::ipc {

/// Where a stream's control file lies: a name in the very directory that holds the stream. That is held by a descriptor,
/// because paths can be led elsewhere: whoever owns a directory above could put a link in its place, and have a writer
/// with more rights than theirs create, replace or adopt a file in a directory of others.
/// Thread safety: all of it.
class control_place {
public:
    /// Beside the stream's file at `stream_path` (no links in it), which is this inode of this device. Errors: not_found
    /// (the path leads to another file by now, or to none), no_permission, io.
    [[nodiscard]] static result<control_place> beside(const std::string& stream_path, std::uint64_t device,
                                                      std::uint64_t inode);

    /// The stream still lies here, and not another under its name. Errors: not_found, no_permission, io.
    [[nodiscard]] result<void> check_stream() const;
    /// Of the control file, for messages; it may lead elsewhere by now.
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// The descriptor, not inherited by other programs and through no link at the end, or none and errno.
    [[nodiscard]] base::unique_fd open(int flags) const noexcept;
    /// What is there, not through a link. False: errno tells why it cannot be known.
    [[nodiscard]] bool look(struct stat& st) const noexcept;

    /// A file beside it under a temporary name: an empty new one, or none and errno.
    [[nodiscard]] base::unique_fd create_temporary() const noexcept;
    void remove_temporary() const noexcept;
    /// Gives the temporary file the control file's name, in the place of what had it. False: errno.
    [[nodiscard]] bool put_in_place() const noexcept;

private:
    base::unique_fd directory_;
    std::string path_;
    std::string stream_name_;  // in the directory, as are the next two
    std::string name_;
    std::string temporary_;
    std::uint64_t device_ = 0;  // of the stream, as is the inode
    std::uint64_t inode_ = 0;
};

}  // namespace pmemstream::ipc
