#include "src/base/checked.hpp"
#include "src/base/failure.hpp"
#include "tests/support/expect.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <set>

namespace {

using namespace pmemstream;
constexpr auto largest = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("checked_add answers nothing exactly when the sum does not fit") {
    CHECK(base::checked_add(0, 0) == 0u);
    CHECK(base::checked_add(largest, 0) == largest);
    CHECK(base::checked_add(largest - 1, 1) == largest);
    CHECK_FALSE(base::checked_add(largest, 1).has_value());
    CHECK_FALSE(base::checked_add(largest, largest).has_value());
}

TEST_CASE("checked_round_up stays below the largest multiple or answers nothing") {
    CHECK(base::checked_round_up(0, 64) == 0u);
    CHECK(base::checked_round_up(1, 64) == 64u);
    CHECK(base::checked_round_up(64, 64) == 64u);
    CHECK(base::checked_round_up(65, 64) == 128u);
    CHECK(base::checked_round_up(largest - 63, 64) == largest - 63);
    CHECK_FALSE(base::checked_round_up(largest - 62, 64).has_value());
    CHECK_FALSE(base::checked_round_up(largest, 8).has_value());
    CHECK(base::checked_round_up(largest, 1) == largest);
}

TEST_CASE("is_aligned and round_up agree") {
    for (std::uint64_t value = 0; value < 300; ++value)
        for (const std::uint64_t alignment : {1, 8, 64, 128}) {
            const auto up = base::round_up(value, alignment);
            CHECK(base::is_aligned(up, alignment));
            CHECK((up >= value && up - value < alignment));
            CHECK(base::is_aligned(value, alignment) == (up == value));
        }
}

TEST_CASE("every error code has a name of its own") {
    std::set<std::string_view> names;
    const int codes = static_cast<int>(errc::io);
    for (int code = 1; code <= codes; ++code)
        names.insert(to_string(static_cast<errc>(code)));
    CHECK(names.size() == static_cast<std::size_t>(codes));
    CHECK_FALSE(names.contains("unknown"));
    CHECK(to_string(static_cast<errc>(0)) == "unknown");
    CHECK(to_string(static_cast<errc>(codes + 1)) == "unknown");
}

TEST_CASE("an errno becomes the code that names it, and stays readable") {
    const auto code_for = [](int system_error) {
        const result<void> failed = base::system_failure(system_error, "{}: trying", "/some/file");
        CHECK(failed.error().system_error() == system_error);
        CHECK(failed.error().message().starts_with("/some/file: trying: "));
        return test::code_of(failed);
    };
    CHECK(code_for(ENOENT) == "not_found");
    CHECK(code_for(ENOTDIR) == "not_found");
    CHECK(code_for(EACCES) == "no_permission");
    CHECK(code_for(EPERM) == "no_permission");
    CHECK(code_for(EROFS) == "no_permission");
    CHECK(code_for(EEXIST) == "already_exists");
    CHECK(code_for(EISDIR) == "not_a_file");
    CHECK(code_for(ENOSPC) == "no_space");
    CHECK(code_for(EDQUOT) == "no_space");
    CHECK(code_for(EIO) == "io");
    CHECK(code_for(EINVAL) == "io");
}

TEST_CASE("the kill points keep the numbers that the crash tests print") {
    CHECK(static_cast<int>(base::kill_point::copy) == 1);
    CHECK(static_cast<int>(base::kill_point::between_persists) + 1 == static_cast<int>(base::kill_point::count));
}

}  // namespace
