#pragma once

#include <pmemstream/export.hpp>
#include <pmemstream/result.hpp>

namespace pmemstream {

/// Installs a SIGBUS handler for the mappings of this library: a page that cannot be had (the file was truncated, the
/// medium failed) is replaced by zeros, and the stream or control file it belongs to answers `io` or `control_lost`
/// from then on. Faults elsewhere go to the handler that was there before. Meant for programs, not for libraries: a
/// signal handler is the process' own. Installing it again does nothing.
/// Thread safety: any thread. Errors: io.
[[nodiscard]] PMEMSTREAM_API result<void> install_fault_guard() noexcept;

}  // namespace pmemstream
