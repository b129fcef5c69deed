#pragma once

#include <pmemstream/export.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace pmemstream {

/// Why an operation did not happen. An error changes nothing unless the function that returns it says otherwise.
enum class errc : std::uint8_t {
    invalid_argument = 1,    ///< a parameter outside what its documentation allows
    not_found,               ///< no such file, or no region of that name
    already_exists,          ///< the file that was to be created is there already, or its device holds something
    no_permission,           ///< the system refused access to the file
    not_a_file,              ///< a directory, socket, terminal: nothing that can hold a stream
    not_a_stream,            ///< empty, all zero or foreign content
    unsupported_format,      ///< a stream, but of a version, or with flags, that this library does not know
    truncated,               ///< the file is shorter than the stream in it
    corrupt,                 ///< damaged: the message gives region and offset
    unsupported_filesystem,  ///< a network file system, where mappings are not shared between processes
    writer_busy,             ///< another process (or another writer in this one) holds the writer lock
    device_busy,             ///< the block device is mounted, part of another, or open exclusively by somebody
    blocked_by_reader,       ///< a shared lock of somebody who only reads keeps the next writer out
    wrong_process,           ///< a forked child used the writer of its parent
    no_space,                ///< the file system, or the device, has no room for it
    exhausted,               ///< no free extent of that size in the stream, or a fixed limit is reached
    duplicate_name,          ///< a live region has that name
    too_small,               ///< the size asked for holds not even an empty entry (or stream)
    too_large,               ///< beyond a limit of the format
    region_full,             ///< the entry does not fit in what is left of the region
    region_gone,             ///< the region was freed or cleared since the handle was made
    pinned,                  ///< a registered cursor still reads the region
    reservation_open,        ///< an earlier reservation in that region is neither published nor abandoned
    invalid_offset,          ///< no entry begins at that offset
    control_lost,            ///< the control file was truncated while it was mapped
    io,                      ///< the system or the medium refused; see error::system_error
};

/// The code's name as written above, e.g. "region_full". Never null.
[[nodiscard]] PMEMSTREAM_API std::string_view to_string(errc code) noexcept;

/// An error as a value: what went wrong, the errno where there is one, and a sentence for people that names the file,
/// the region and the offset as far as they are known.
class error {
public:
    error(errc code, std::string message, int system_error = 0)
        : message_(std::move(message)), system_error_(system_error), code_(code) {}

    [[nodiscard]] errc code() const noexcept { return code_; }
    /// An errno value, or 0.
    [[nodiscard]] int system_error() const noexcept { return system_error_; }
    [[nodiscard]] const std::string& message() const noexcept { return message_; }

private:
    std::string message_;
    int system_error_;
    errc code_;
};

/// What every fallible function returns; no exception crosses this interface (a failed allocation of memory ends the
/// process).
template <class T>
using result = tl::expected<T, error>;

}  // namespace pmemstream
