#include "tests/support/temp_dir.hpp"

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace pmemstream::test {

namespace {
/// Memory where there is some: most tests are about processes, not about the disk.
std::filesystem::path default_parent() {
    if (const char* set = std::getenv("PMEMSTREAM_TEST_DIR"))
        return set;
    return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
}
}  // namespace

temp_dir::temp_dir() : temp_dir(default_parent()) {}

temp_dir::temp_dir(const std::filesystem::path& parent) {
    std::string text = (parent / "pmemstream-test-XXXXXX").string();
    if (::mkdtemp(text.data()) == nullptr)
        throw std::system_error(errno, std::generic_category(), text);
    path_ = text;
}

temp_dir::~temp_dir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace pmemstream::test
