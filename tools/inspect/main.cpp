#include "tools/common/exit_code.hpp"
#include "tools/common/output.hpp"
#include "tools/common/run.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/stream_access.hpp"
#include "tools/inspect/commands.hpp"

#include <chrono>

namespace pmemstream::tools {
namespace {

/// With --wait, the first of the two to be there is waited for: the stream.
reader open_stream(const inspect_options& options, const output& out) {
    const reader_options how{.name = options.follow ? "pmemstream-inspect tail -f" : "pmemstream-inspect"};
    for (;;) {
        auto opened = reader::open(options.stream, how);
        if (opened || !options.wait || opened.error().code() != errc::not_found)
            return need(std::move(opened));
        out.check_reader();
        if (!signals::sleep_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(20)))
            throw interrupted{signals::seen()};
    }
}

void wait_for_region(const reader& from, const std::string& label, const output& out) {
    while (!find_region(from, label)) {
        out.check_reader();
        if (!signals::sleep_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(20)))
            throw interrupted{signals::seen()};
    }
}

int inspect(int argc, char** argv) {
    output out;
    const auto options = parse_inspect_options(argc, argv, out);
    if (!options)
        return 0;
    try {
        if (options->command == inspect_command::verify || options->command == inspect_command::salvage) {
            const bool verify = options->command == inspect_command::verify;
            const auto status = verify ? show_verification(*options, out) : salvage(*options, out);
            out.finish();
            return static_cast<int>(status);
        }
        // Where nothing is waited for, a signal may end the process as it always does.
        if (options->follow || options->wait)
            signals::catch_them();
        const reader from = open_stream(*options, out);
        if (options->wait && options->region)
            wait_for_region(from, *options->region, out);
        switch (options->command) {
            case inspect_command::info:
                show_info(from, *options, out);
                break;
            case inspect_command::regions:
                show_regions(from, *options, out);
                break;
            case inspect_command::dump:
            case inspect_command::tail:
                show_entries(from, *options, out);
                break;
            case inspect_command::readers:
                show_readers(from, *options, out);
                break;
            case inspect_command::verify:
            case inspect_command::salvage:
                break;
        }
        out.finish();
    } catch (const interrupted&) {
        // The way to end tail -f. What was shown so far is out, as far as its reader took it.
        if (!options->follow)
            throw;
    } catch (const failed&) {
        out.flush();
        throw;
    }
    return 0;
}

}  // namespace
}  // namespace pmemstream::tools

int main(int argc, char** argv) {
    return pmemstream::tools::run_tool("pmemstream-inspect", [&] { return pmemstream::tools::inspect(argc, argv); });
}
