#include "tools/common/exit_code.hpp"
#include "tools/common/output.hpp"
#include "tools/common/run.hpp"
#include "tools/common/signals.hpp"
#include "tools/write/sources.hpp"

#include <unistd.h>

namespace pmemstream::tools {
namespace {

int write(int argc, char** argv) {
    output out;
    const auto options = parse_write_options(argc, argv, out);
    if (!options)
        return 0;
    signals::catch_them();

    appender to(*options);
    if (options->source != source_kind::frames)
        to.open();
    int status = 0;
    int signal = 0;
    try {
        stop why = stop::end;
        if (options->source == source_kind::command) {
            status = append_command(to, *options);
        } else if (options->source == source_kind::files) {
            why = append_files(to, *options);
        } else if (options->source == source_kind::resumed_lines) {
            why = append_rest_of_file(to, *options);
        } else {
            input from(STDIN_FILENO, "standard input", false);
            line_source lines(from);
            why = options->source == source_kind::frames ? append_frames(to, *options, from)
                                                         : append_lines(to, *options, lines, from);
        }
        if (why == stop::signal)
            signal = signals::seen();
    } catch (const interrupted& e) {
        signal = e.signal;
    }
    to.close();
    if (signal == 0)
        return status;
    note("ended by {}; {} appended, the stream is closed", signals::name_of(signal), to.appended());
    return 128 + signal;
}

}  // namespace
}  // namespace pmemstream::tools

int main(int argc, char** argv) {
    return pmemstream::tools::run_tool("pmemstream-write", [&] { return pmemstream::tools::write(argc, argv); });
}
