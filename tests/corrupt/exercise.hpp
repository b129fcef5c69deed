#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <string>

#include <pmemstream/reader.hpp>

namespace pmemstream::test {

/// What a run over hostile streams saw. Lies in memory that the parent of a test process shares, so that it survives a
/// crash.
struct progress {
    std::uint64_t cases = 0;
    std::uint64_t entries = 0;
    std::uint64_t refused_at_open = 0;
    std::uint64_t errors_later = 0;
    std::uint64_t opened_by_writer = 0;
    std::uint64_t io_errors = 0;
    std::uint64_t complaints = 0;
};

struct exercise_options {
    /// Nobody changes the file meanwhile: every entry shown is compared with the file.
    bool still = true;
    /// What is there is undamaged, but part of the file is gone: then nothing but io is an answer.
    bool part_lost = false;
    std::uint64_t touched = 0;  ///< so that no compiler leaves the looking out
};

/// Does with a reader all that a reader can do, and looks at every byte it is given. Complains on standard error (and
/// counts it) of whatever is neither an entry that verifies nor an error that damage may have.
void exercise_reader(const reader& from, std::mt19937_64& random, exercise_options& options, progress& seen);
void exercise_file(const std::filesystem::path& file, std::mt19937_64& random, exercise_options& options,
                   progress& seen);

/// Opens a writer and, if it may, does with it all that a writer can do; then all that it appended must be read back,
/// unless an entry before is damaged.
void exercise_writer(const std::filesystem::path& file, std::mt19937_64& random, progress& seen);

void complain(progress& seen, const std::string& what);

}  // namespace pmemstream::test
