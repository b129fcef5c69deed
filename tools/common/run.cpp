#include "tools/common/run.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/output.hpp"
#include "tools/common/progress.hpp"
#include "tools/common/signals.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <pmemstream/fault_guard.hpp>
#include <string>
#include <system_error>

namespace pmemstream::tools {

namespace {

std::string_view tool_name;

/// A standard descriptor that the caller closed would be given to the next file that is opened: a stream as standard
/// output. Such a one is taken by a descriptor that fails when it is used.
void fill_standard_descriptors() {
    for (int fd = 0; fd <= 2; ++fd)
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

}  // namespace

void fail_with_errno(int system_error, std::string_view what) {
    fail(exit_code::io, "{}: {}", what, std::generic_category().message(system_error));
}

void print_note(std::string_view text) {
    progress::clear_line();
    const std::string line = fmt::format("{}: {}\n", tool_name, text);
    // One write, so that lines of several tools on one terminal do not mix. Nobody is left to tell if it fails.
    (void)!::write(STDERR_FILENO, line.data(), line.size());
}

int run_tool(std::string_view name, const std::function<int()>& body) {
    tool_name = name;
    fill_standard_descriptors();
    // A pipe whose reader left is noticed by the write that fails.
    (void)std::signal(SIGPIPE, SIG_IGN);
    try {
        need(install_fault_guard());
        return body();
    } catch (const reader_gone&) {
        return static_cast<int>(exit_code::fine);
    } catch (const interrupted& e) {
        return 128 + e.signal;
    } catch (const failed& e) {
        print_note(e.what());
        return static_cast<int>(e.code());
    } catch (const std::exception& e) {
        print_note(e.what());
        return static_cast<int>(exit_code::io);
    }
}

}  // namespace pmemstream::tools
