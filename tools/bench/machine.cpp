#include "tools/bench/machine.hpp"

#include "tools/bench/streams.hpp"

#include <fmt/format.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace bench {

namespace {

std::string cpu_model() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
        if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos)
            return line.substr(line.find(": ") + 2);
    return "unknown CPU";
}

/// The type under which the place is mounted: what statfs() gives are numbers without names.
std::string filesystem_of(const std::filesystem::path& folder) {
    const std::string whole = std::filesystem::canonical(folder).string();
    std::ifstream mounts("/proc/self/mounts");
    std::string best = "unknown file system";
    std::size_t longest = 0;
    for (std::string device, point, type, rest; mounts >> device >> point >> type && std::getline(mounts, rest);) {
        const bool below = whole == point || point == "/" || whole.rfind(point + "/", 0) == 0;
        if (below && point.size() >= longest) {
            longest = point.size();
            best = type;
        }
    }
    return best;
}

std::string granularity_at(const std::filesystem::path& file) {
    const scratch_stream probe(file.string() + ".probe", std::uint64_t{1} << 20);
    const auto info = must(pmemstream::reader::open(probe.file())).info();
    return std::string(to_string(info.granularity)) + (info.granularity_forced ? " (forced)" : "");
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
    return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

}  // namespace

machine look_at_machine(const settings& how) {
    utsname name{};
    ::uname(&name);
    return {.cpu = cpu_model(),
            .cpus = ::sysconf(_SC_NPROCESSORS_ONLN),
            .kernel = fmt::format("{} {}", name.sysname, name.release),
            .filesystem = filesystem_of(folder_of(how.file)),
            .granularity = granularity_at(how.file),
            .disk_filesystem = filesystem_of(folder_of(how.disk_file)),
            .disk_granularity = granularity_at(how.disk_file)};
}

std::string describe(const machine& where) {
    return fmt::format("{}, {} CPUs; {}; streams on {} ({}), durable ones on {} ({})", where.cpu, where.cpus,
                       where.kernel, where.filesystem, where.granularity, where.disk_filesystem,
                       where.disk_granularity);
}

}  // namespace bench
