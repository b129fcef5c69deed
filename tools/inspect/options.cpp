#include "tools/inspect/options.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/help.hpp"
#include "tools/common/text.hpp"

#include <map>
#include <memory>
#include <pmemstream/version.hpp>

namespace pmemstream::tools {

namespace {

constexpr const char* usage = "Usage: pmemstream-inspect COMMAND [OPTIONS] STREAM";

constexpr const char* description =
    "Shows what is in a stream. It needs permission to read the file and no more, and\n"
    "works beside a live writer, which it costs nothing. The CRC of every entry that\n"
    "is shown was checked.";

constexpr const char* exit_codes =
    "Exit status:\n"
    "  0  fine; also when the reader of a pipe went away (| head), and when tail -f\n"
    "     was ended by SIGINT, SIGTERM or SIGHUP\n"
    "  1  usage\n"
    "  2  not a stream, a format this version does not know, or a file cut short\n"
    "  3  damaged: what comes before the damage was shown; region and offset are told\n"
    "  4  the system refused, or something is not there: no such file or region, no\n"
    "     permission, no room for the output, the region freed while it was read";

constexpr const char* footer =
    "Examples:\n"
    "  pmemstream-inspect tail -f /dev/shm/stats        follow what is appended\n"
    "  pmemstream-inspect dump --json log | jq .text    all entries, oldest first\n"
    "  pmemstream-inspect dump -r main -n 3 --format hex log\n"
    "  pmemstream-inspect regions log                   which region lies where\n"
    "  pmemstream-inspect dump --format frames A | pmemstream-write --frames B\n"
    "\n"
    "COMMAND --help tells more.\n\n";

constexpr const char* picture_footer =
    "The picture shows the file from its begin to its end, line by line. Each region\n"
    "has a letter: a capital where it holds entries, a small one where it has room.\n"
    "# is the stream's own, . is free.\n\n";

constexpr const char* dump_footer =
    "Without --region, the entries of all regions in the order of their sequences.\n"
    "An entry that is damaged ends the output after everything before it.\n\n"
    "Formats:\n"
    "  text    the payload as it is, and a newline\n"
    "  hex     a line about the entry, and its bytes in hexadecimal\n"
    "  json    one object per line: sequence, offset, region, bytes, and the payload\n"
    "          as \"text\" if it is UTF-8, else as \"base64\"\n"
    "  frames  for pmemstream-write --frames; see its manual page\n\n";

constexpr const char* verify_footer =
    "Checks every CRC and every rule of the format, changes nothing, and says what an\n"
    "opening writer would do. What was damaged when the power failed, and will be cut,\n"
    "is a torn tail: a note and status 0. All other damage is status 3.\n\n";

constexpr const char* salvage_footer =
    "OUT is a new stream with the regions of the old one and every entry that verifies.\n"
    "Sequences are given anew, in the order of the old ones. It works without the\n"
    "superblock, without the region table, and on what is left of a truncated file.\n"
    "What had to be left is listed; then the status is 3.\n\n";

struct raw_options {
    std::string from;
    std::string after;
    std::string count;
    std::string format = "text";
    std::string horizon = "committed";
};

std::uint64_t number_option(const std::string& text, std::string_view option) {
    const auto number = parse_number(text);
    if (!number)
        fail(exit_code::usage, "{} {}: not a number (see --help)", option, printable(text));
    return *number;
}

void add_shared(CLI::App& command, inspect_options& to) {
    command.set_help_flag("-h,--help", "This text");
    command.add_option("STREAM", to.stream, "The stream's file")->required()->type_name("");
    command.add_flag("--json", to.json, "For programs: JSON");
}

void add_region(CLI::App& command, inspect_options& to) {
    command.add_option("-r,--region", to.region, "Only this region: its name, or #GENERATION")->type_name("NAME");
}

void add_entries(CLI::App& command, inspect_options& to, raw_options& raw, bool tail) {
    add_region(command, to);
    auto* const from = command
                           .add_option("--from", raw.from,
                                       "Begin with the oldest entry (start), behind the newest (end), or at the entry "
                                       "with this offset in the file, hexadecimal behind 0x (with --region)")
                           ->type_name("start|end|OFFSET");
    command.add_option("--after", raw.after, "Begin with the first entry newer than this")
        ->type_name("SEQUENCE")
        ->excludes(from);
    command
        .add_option("-n,--count", raw.count,
                    tail ? "Begin with the last N entries (default: 10); with --from or --after, end after N"
                         : "End after N entries")
        ->type_name("N");
    command.add_option("--format", raw.format, "How entries are shown (default: text)")
        ->check(CLI::IsMember({"text", "hex", "json", "frames"}).description(""))
        ->type_name("text|hex|json|frames");
    command
        .add_option("--horizon", raw.horizon,
                    "committed: everything readers see (default); persisted: only what survives a loss of power")
        ->check(CLI::IsMember({"committed", "persisted"}).description(""))
        ->type_name("committed|persisted");
    command.add_flag("--with-sequences", to.with_sequences, "text: each line begins with the sequence and a tab");
    command.add_flag("--with-regions", to.with_regions, "text: each line begins with the region and a tab");
}

void finish(inspect_options& options, const raw_options& raw) {
    using start = inspect_options::start;
    if (raw.from == "start") {
        options.from = start::oldest;
    } else if (raw.from == "end") {
        options.from = start::newest;
    } else if (!raw.from.empty()) {
        options.from = start::offset;
        const auto at = parse_offset(raw.from);
        if (!at)
            fail(exit_code::usage,
                 "--from {}: neither start nor end nor an offset, such as 8256 or 0x2040 (see --help)",
                 printable(raw.from));
        options.at = offset{*at};
        if (!options.region)
            fail(exit_code::usage, "--from {}: an offset is one region's; give --region (see --help)", raw.from);
    }
    if (!raw.after.empty()) {
        options.from = start::after;
        options.behind = sequence{number_option(raw.after, "--after")};
    }
    if (!raw.count.empty())
        options.count = number_option(raw.count, "--count");
    static const std::map<std::string, entry_format> formats{{"text", entry_format::text},
                                                             {"hex", entry_format::hex},
                                                             {"json", entry_format::json},
                                                             {"frames", entry_format::frames}};
    options.format = formats.at(raw.format);
    options.horizon = raw.horizon == "persisted" ? horizon::persisted : horizon::committed;
    if (options.json) {
        if (raw.format != "text" && raw.format != "json")
            fail(exit_code::usage, "--json excludes --format {} (see --help)", raw.format);
        options.format = entry_format::json;
    }
    if (options.format != entry_format::text && (options.with_sequences || options.with_regions))
        fail(exit_code::usage, "--with-sequences and --with-regions belong to --format text (see --help)");
    if (options.region && options.region->empty())
        fail(exit_code::usage, "--region: a name has 1 to {} bytes", region_name_bytes_max);
}

}  // namespace

std::optional<inspect_options> parse_inspect_options(int argc, char** argv, output& out) {
    inspect_options options;
    raw_options raw;

    CLI::App app(description, "pmemstream-inspect");
    app.formatter(std::make_shared<help_formatter>(usage));
    app.footer(std::string(footer) + exit_codes);
    app.set_help_flag("-h,--help", "This text");
    app.set_version_flag("--version", "pmemstream-inspect " PMEMSTREAM_VERSION, "The version");
    app.require_subcommand(1);
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

    const auto add = [&](const char* name, const char* what, const std::string& more, inspect_command command) {
        CLI::App* const sub = app.add_subcommand(name, what);
        sub->footer(more + exit_codes);
        sub->callback([&options, command] { options.command = command; });
        add_shared(*sub, options);
        return sub;
    };
    add("info", "What the stream is: format, size, state, writer", "", inspect_command::info);
    add_region(
        *add("regions", "The regions in a table, and a picture of the file", picture_footer, inspect_command::regions),
        options);
    add_entries(*add("dump", "The entries that are committed now, oldest first", dump_footer, inspect_command::dump),
                options, raw, false);
    auto* const tail = add("tail", "The last entries; with -f also those to come", dump_footer, inspect_command::tail);
    add_entries(*tail, options, raw, true);
    tail->add_flag("-f,--follow", options.follow, "Go on with what is appended, each entry at once, until ended");
    tail->add_flag("--wait", options.wait, "Wait for the stream, and the region, to be made");
    add_region(*add("readers", "Registered cursors: alive, asleep, how far behind", "", inspect_command::readers),
               options);
    add_region(
        *add("verify", "Check everything: CRCs, and every rule of the format", verify_footer, inspect_command::verify),
        options);
    auto* const salvage = app.add_subcommand("salvage", "Copy every entry that verifies to a new stream");
    salvage->footer(std::string(salvage_footer) + exit_codes);
    salvage->callback([&options] { options.command = inspect_command::salvage; });
    salvage->set_help_flag("-h,--help", "This text");
    salvage->add_option("STREAM", options.stream, "The damaged stream's file")->required()->type_name("");
    salvage->add_option("OUT", options.out, "The new stream's file, which must not exist")->required()->type_name("");
    salvage->add_flag("--json", options.json, "For programs: JSON");

    try {
        if (argc > 1 && argv[1][0] != '-')
            (void)app.get_subcommand(argv[1]);
    } catch (const CLI::OptionNotFound&) {
        fail(exit_code::usage, "{}: no such command (see --help)", printable(argv[1]));
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        out.put(app.help());
        out.finish();
        return std::nullopt;
    } catch (const CLI::CallForVersion&) {
        out.put("pmemstream-inspect " PMEMSTREAM_VERSION "\n");
        out.finish();
        return std::nullopt;
    } catch (const CLI::ParseError& e) {
        fail(exit_code::usage, "{} (see --help)", e.what());
    }
    need_name(options.stream, "the stream");
    if (options.command == inspect_command::salvage)
        need_name(options.out, "the new stream");
    finish(options, raw);
    return options;
}

}  // namespace pmemstream::tools
