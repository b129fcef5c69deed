#include "tools/write/options.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/help.hpp"
#include "tools/common/text.hpp"

#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <memory>
#include <pmemstream/version.hpp>
#include <span>
#include <string_view>

namespace pmemstream::tools {

namespace {

constexpr const char* description =
    "Appends entries to a region of a stream, where readers in other processes see\n"
    "them at once. Without --frames, --files, --resume or a command, each line of\n"
    "standard input becomes an entry (without its newline). The stream and the\n"
    "region are made if they are not there.";

constexpr const char* footer =
    "Examples:\n"
    "  vmstat 1 | pmemstream-write /dev/shm/stats    each line as it comes\n"
    "  pmemstream-write log --size 1G -- make -j8    what a command prints\n"
    "  pmemstream-write log --resume big.txt         go on where a killed run stopped\n"
    "  pmemstream-write shots -r raw --files *.jpg   one entry per file\n"
    "  pmemstream-inspect dump --format frames A | pmemstream-write --frames B\n"
    "                                                rebuild A's regions in B\n"
    "\n"
    "SIGINT, SIGTERM and SIGHUP end it cleanly: entries that were read completely are\n"
    "appended, the stream is closed, and the exit status is 128 + the signal.\n"
    "\n"
    "Exit status:\n"
    "  0  everything was appended\n"
    "  1  usage\n"
    "  2  not a stream, a format this version does not know, or a file cut short\n"
    "  3  the stream is damaged\n"
    "  4  the system refused: input, output, permission, no such directory, disk\n"
    "     full; or the device holds something\n"
    "  5  no room: the region is full (the message says how much was appended), or\n"
    "     the stream has no room for the region\n"
    "  6  busy: another writer, or somebody who blocks writers, has the stream; or\n"
    "     the device is mounted\n"
    "  7  the input makes no sense: a damaged frame, an entry beyond 4 GiB, a file to\n"
    "     resume that does not begin with the region's entries\n"
    "With a command that failed, after all it printed was appended: its exit status,\n"
    "or 128 + the signal that killed it; 127 if it was not found, 126 if it could not\n"
    "be run.";

std::uint64_t size_option(const std::string& text, std::string_view option) {
    const auto size = parse_size(text);
    if (!size)
        fail(exit_code::usage, "{} {}: not a size (such as 4096, 64K, 1.5G)", option, printable(text));
    return *size;
}

mode_t mode_option(const std::string& text, std::string_view option) {
    unsigned mode = 0;
    const bool octal = !text.empty() && text.size() <= 5 && text.find_first_not_of("01234567") == std::string::npos;
    for (const char c : octal ? text : std::string())
        mode = mode * 8 + static_cast<unsigned>(c - '0');
    if (!octal || mode > 0777)
        fail(exit_code::usage, "{} {}: not an octal file mode from 0 to 0777", option, printable(text));
    return mode;
}

void check_readable(const std::vector<std::string>& files) {
    // Before anything is appended; what changes later is noticed when its turn comes.
    for (const auto& file : files) {
        std::error_code error;
        if (std::filesystem::is_directory(file, error))
            fail(exit_code::io, "{}: a directory", printable(file));
        if (::access(file.c_str(), R_OK) != 0)
            fail_with_errno(errno, printable(file));
    }
}

}  // namespace

std::optional<write_options> parse_write_options(int argc, char** argv, output& out) {
    write_options options;
    std::string size;
    std::string region_size;
    std::vector<std::string> attributes;
    std::string block_size;
    std::string mode;
    std::string control_mode;
    double pace = 0;
    bool frames = false;
    int persist_every = 0;
    std::string pretouch;

    CLI::App app(description, "pmemstream-write");
    app.formatter(
        std::make_shared<help_formatter>("Usage: pmemstream-write [OPTIONS] STREAM [-- COMMAND [ARGUMENTS...]]"));
    app.footer(footer);
    const std::string others = "Other options";
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app.set_help_flag();
    app.add_option("STREAM", options.stream, "The stream's file, or a block device")->required()->type_name("");
    app.add_option("-r,--region", options.region, "The region to append to (default: main)")->type_name("NAME");
    auto* const paced =
        app.add_option("--pace", pace, "Append at most this many entries per second")->type_name("RATE");
    auto* const durable =
        app.add_flag("--durable", options.durable, "Each entry survives a loss of power before the next is read");
    auto* const persisted_every = app.add_option("--persist-every", persist_every,
                                                 "Make what was appended survive a loss of power every so often, in "
                                                 "milliseconds (default: at the end only)")
                                      ->type_name("MS")
                                      ->check(CLI::Range(1, 3'600'000).description(""));
    durable->excludes(persisted_every);
    app.add_option(
           "--pretouch", pretouch,
           "Keep so much memory ahead of the entries present, in the background, so that appending meets no page "
           "fault (takes K, M, G; default: 4M with --persist-every, else none)")
        ->type_name("SIZE");
    app.add_flag("--wait-lock", options.wait_for_lock, "Wait until no other writer has the stream");

    const std::string input = "Input (default: the lines of standard input)";
    auto* const frames_flag = app.add_flag("--frames", frames,
                                           "Standard input is a sequence of frames, which name their regions: what "
                                           "pmemstream-inspect dump --format frames writes")
                                  ->group(input);
    auto* const files =
        app.add_option("--files", options.files, "Append whole files, one entry each (put STREAM before it)")
            ->type_name("FILE...")
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
            ->group(input);
    auto* const resume =
        app.add_option("--resume", options.resumed_file,
                       "Append the lines of FILE that the region does not hold yet: as many are "
                       "skipped as it has entries, and each is compared with its entry; a last line without "
                       "newline is left for a later run")
            ->type_name("FILE")
            ->group(input);
    frames_flag->excludes(files)->excludes(resume);
    files->excludes(resume);

    const std::string making = "What is made on demand (sizes take K, M, G, T)";
    app.add_option("--size", size, "Bytes of the stream (default: 64M; of a block device all of it)")
        ->type_name("SIZE")
        ->group(making);
    app.add_option("--region-size", region_size,
                   "Bytes of the region, 16 per entry and padding to 8 included (default: half of what is free; "
                   "with --frames what the frames say, if they do)")
        ->type_name("SIZE")
        ->group(making);
    app.add_option("--content-type", options.attributes.content_type,
                   "What the entries are, as a media type: kept with the region, shown by pmemstream-inspect")
        ->type_name("TYPE")
        ->group(making);
    app.add_option("--attribute", attributes,
                   "A key and a value of your own that are kept with the region (repeatable)")
        ->type_name("KEY=VALUE")
        ->group(making);
    app.add_option("--block-size", block_size,
                   "Unit in which regions take space: a power of two from 64 to 1G (default: 4K)")
        ->type_name("SIZE")
        ->group(making);
    app.add_flag("--overwrite-device", options.create.overwrite_device,
                 "Where STREAM is a block device without a stream: make one even if the device holds something")
        ->group(making);
    app.add_option("--mode", mode, "Permissions of the stream's file, octal (default: 0666 less the umask)")
        ->type_name("MODE")
        ->group(making);
    app.add_option("--control-mode", control_mode,
                   "Permissions of the control file, octal: other users' readers sleep on the doorbell only where they "
                   "may write it (default: those of the stream's file)")
        ->type_name("MODE")
        ->group(making);
    app.set_help_flag("-h,--help", "This text")->group(others);
    app.set_version_flag("--version", "pmemstream-write " PMEMSTREAM_VERSION, "The version")->group(others);

    // What follows "--" is the command's alone.
    const std::span<char*> words(argv, static_cast<std::size_t>(argc));
    const auto dashes = std::find(words.begin(), words.end(), std::string_view("--"));
    const bool has_command = dashes != words.end();
    if (has_command)
        options.command.assign(dashes + 1, words.end());
    try {
        app.parse(static_cast<int>(dashes - words.begin()), argv);
    } catch (const CLI::CallForHelp&) {
        out.put(app.help());
        out.finish();
        return std::nullopt;
    } catch (const CLI::CallForVersion&) {
        out.put("pmemstream-write " PMEMSTREAM_VERSION "\n");
        out.finish();
        return std::nullopt;
    } catch (const CLI::ParseError& e) {
        fail(exit_code::usage, "{} (see --help)", e.what());
    }

    need_name(options.stream, "the stream");
    if (has_command && options.command.empty())
        fail(exit_code::usage, "-- without a command behind it (see --help)");
    if (has_command && (frames || *files || *resume))
        fail(exit_code::usage, "a command excludes --frames, --files and --resume (see --help)");
    if (options.region.empty() || options.region.size() > region_name_bytes_max)
        fail(exit_code::usage, "--region: a name has 1 to {} bytes", region_name_bytes_max);
    options.source = frames        ? source_kind::frames
                     : *files      ? source_kind::files
                     : *resume     ? source_kind::resumed_lines
                     : has_command ? source_kind::command
                                   : source_kind::lines;
    options.stream_bytes_given = !size.empty();
    options.block_bytes_given = !block_size.empty();
    if (!size.empty())
        options.create.stream_bytes = size_option(size, "--size");
    if (!block_size.empty())
        options.create.block_bytes = size_option(block_size, "--block-size");
    if (!region_size.empty())
        options.region_bytes = size_option(region_size, "--region-size");
    for (const auto& text : attributes) {
        const auto equals = text.find('=');
        if (equals == 0 || equals == std::string::npos)
            fail(exit_code::usage, "--attribute {}: not KEY=VALUE", text);
        options.attributes.values.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    if (!mode.empty())
        options.create.file_mode = mode_option(mode, "--mode");
    if (!control_mode.empty())
        options.control_mode = mode_option(control_mode, "--control-mode");
    if (*paced) {
        if (!std::isfinite(pace) || pace <= 0)
            fail(exit_code::usage, "--pace: a number of entries per second above 0");
        options.pace = pace;
    }
    if (!pretouch.empty())
        options.pretouch_bytes = size_option(pretouch, "--pretouch");
    options.persist_every = std::chrono::milliseconds(persist_every);
    if (*files)
        check_readable(options.files);
    else if (*resume)
        check_readable({options.resumed_file});
    return options;
}

}  // namespace pmemstream::tools
