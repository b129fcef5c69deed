#include "src/base/failure.hpp"

#include <array>
#include <cerrno>
#include <system_error>

namespace pmemstream {

std::string_view to_string(errc code) noexcept {
    switch (code) {
        case errc::invalid_argument:
            return "invalid_argument";
        case errc::not_found:
            return "not_found";
        case errc::already_exists:
            return "already_exists";
        case errc::no_permission:
            return "no_permission";
        case errc::not_a_file:
            return "not_a_file";
        case errc::not_a_stream:
            return "not_a_stream";
        case errc::unsupported_format:
            return "unsupported_format";
        case errc::truncated:
            return "truncated";
        case errc::corrupt:
            return "corrupt";
        case errc::unsupported_filesystem:
            return "unsupported_filesystem";
        case errc::writer_busy:
            return "writer_busy";
        case errc::device_busy:
            return "device_busy";
        case errc::blocked_by_reader:
            return "blocked_by_reader";
        case errc::wrong_process:
            return "wrong_process";
        case errc::no_space:
            return "no_space";
        case errc::exhausted:
            return "exhausted";
        case errc::duplicate_name:
            return "duplicate_name";
        case errc::too_small:
            return "too_small";
        case errc::too_large:
            return "too_large";
        case errc::region_full:
            return "region_full";
        case errc::region_gone:
            return "region_gone";
        case errc::pinned:
            return "pinned";
        case errc::reservation_open:
            return "reservation_open";
        case errc::invalid_offset:
            return "invalid_offset";
        case errc::control_lost:
            return "control_lost";
        case errc::io:
            return "io";
    }
    return "unknown";
}

namespace base {

namespace {
errc code_of(int system_error) noexcept {
    switch (system_error) {
        case ENOENT:
        case ENOTDIR:
            return errc::not_found;
        case EACCES:
        case EPERM:
        case EROFS:
            return errc::no_permission;
        case EEXIST:
            return errc::already_exists;
        case EISDIR:
            return errc::not_a_file;
        case ENOSPC:
        case EDQUOT:
            return errc::no_space;
        default:
            return errc::io;
    }
}
}  // namespace

tl::unexpected<error> system_failure(int system_error, std::string_view what) {
    return tl::unexpected(error(code_of(system_error),
                                fmt::format("{}: {}", what, std::generic_category().message(system_error)),
                                system_error));
}

}  // namespace base
}  // namespace pmemstream
