#pragma once

#include "tests/crash/enumerator/lossy_medium.hpp"
#include "tests/crash/enumerator/mapped_file.hpp"
#include "tests/crash/enumerator/stage.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

namespace pmemstream::test {

/// What was looked at.
struct exploration_counts {
    std::uint64_t points = 0;          ///< moments at which power was lost
    std::uint64_t exhaustive = 0;      ///< of these: every subset of the dirty units was tried
    std::uint64_t images = 0;          ///< distinct files that a loss of power might leave; each was opened
    std::uint64_t deaths = 0;          ///< moments at which the process died; each file was opened
    std::uint64_t lost_pages = 0;      ///< images that the process left because the medium had refused pages; likewise
    std::uint64_t second_crashes = 0;  ///< openings of such a file, recorded and crashed in turn
};

struct exploration_limits {
    std::uint64_t unit_bytes = 64;
    std::size_t exhaustive_units = 12;
    std::size_t exhaustive_images = 256;
    std::size_t samples = 16;
    double crashes_again = 32;  ///< so many images of a recording are opened under the recorder, and crashed in turn
    double lost_pages = 0;      ///< chance of an image to be what a refusing medium leaves of a process that died
    double deaths_again = 8;    ///< likewise of the moments at which the process dies
    unsigned stores_per_point = 1;  ///< power is lost, and the process dies, at one in so many that promise nothing
};

/// Loses power, and kills the writer, at every point of a recording; opens what is left with the library, and compares
/// it with the model.
class explorer {
public:
    /// Makes files of `bytes` to record on in `directory`, and one to open images in `scratch`.
    explorer(const std::filesystem::path& directory, const std::filesystem::path& scratch, std::uint64_t bytes,
             recorder& recorder);

    /// What a writer does after a crash: on a fresh stage, to begin with open().
    std::function<void(stage&)> after_crash;
    exploration_limits limits;

    /// The file to record on. At `depth` crashes.
    [[nodiscard]] mapped_file& file(std::size_t depth) { return *files_.at(depth); }
    void explore(const recording& what, std::uint64_t seed) { explore(what, seed, 0, true); }
    [[nodiscard]] const exploration_counts& counts() const { return counts_; }

    static constexpr std::size_t crashes_max = 3;

private:
    struct point {
        const recording* of = nullptr;
        std::size_t event = 0;
        std::size_t depth = 0;
        bool deaths = false;
        double again = 0;  // chance of an image of this moment to be crashed once more
        double death_again = 0;
    };
    void explore(const recording& what, std::uint64_t seed, std::size_t depth, bool deaths);
    void lose_power(const point& at, lossy_medium& medium, const promise_watch& promises, std::uint64_t version,
                    std::optional<std::uint64_t> newest);
    void kill(const point& at, const promise_watch& promises);
    void check(mapped_file& on, const image& content, const stream_model& model, crash how);
    void check_readers(const mapped_file& on, const seen_stream& seen);
    void crash_again(const point& at, const image& content, const stream_model& model);
    void go_on_after_death(const point& at);
    void explore_further(recording next, std::uint64_t seed, std::size_t depth, bool deaths);
    [[nodiscard]] bool chance(double of) { return static_cast<double>(random_() >> 11) * 0x1p-53 < of; }

    recorder& recorder_;
    std::vector<std::unique_ptr<mapped_file>> files_;
    std::unique_ptr<mapped_file> check_file_;
    std::mt19937_64 random_;
    std::unordered_set<std::uint64_t> checked_;  // with the version of what is promised
    std::unordered_set<std::uint64_t> counted_;
    std::unordered_set<std::uint64_t> uncounted_;  // before or after a whole call
    exploration_counts counts_;
};

}  // namespace pmemstream::test
