#pragma once

#include "tests/crash/kill_report.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pmemstream::test {

/// What a stream must hold, built from what its writers reported and from nothing else. Throws std::runtime_error with
/// a sentence wherever the stream differs.
class kill_model {
public:
    explicit kill_model(std::uint64_t seed) : seed_(seed) {}

    /// How the next opening must find the stream.
    enum class closing : std::uint8_t { clean, unclean, either };

    /// Takes a report of a writer. Checks what it says of recovery and sequences.
    void take(const report& told);
    /// Takes a report of a look. `recovered`: after an opening; a step that was half done is decided then.
    void take_look(const report& told, bool recovered);

    /// The writer that reported last is dead. `epoch_was_stored`: if it was opening, it had stored its epoch.
    void writer_died(bool point_is_known, bool epoch_was_stored);

    /// What a killed writer left half done and the next look found whole.
    [[nodiscard]] std::uint64_t unreported_steps() const noexcept { return unreported_steps_; }
    [[nodiscard]] std::uint64_t appended() const noexcept { return appended_; }
    [[nodiscard]] std::uint64_t next_number() const noexcept { return next_number_; }
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
    [[nodiscard]] std::uint64_t entries() const noexcept;
    [[nodiscard]] bool has_regions() const noexcept { return !regions_.empty(); }

private:
    struct numbered {
        std::uint64_t number = 0;
        std::uint64_t sequence = 0;
    };
    struct region_content {
        std::uint64_t generation = 0;
        std::vector<numbered> entries;
    };
    struct seen_entry {
        std::uint64_t digest = 0;
        std::uint64_t sequence = 0;
    };
    struct seen_region {
        std::uint64_t generation = 0;
        std::vector<seen_entry> entries;
    };

    void compare_look(bool recovered);
    void compare_merged(bool recovered) const;
    void compare_region(std::uint32_t name, const region_content& expected, const seen_region& found, bool recovered);
    void decide_missing(std::uint32_t name, bool recovered);
    void decide_extra(std::uint32_t name, const seen_region& found, bool recovered);
    void check_same(std::uint32_t name, const numbered& expected, const seen_entry& found) const;
    void note_generation(std::uint32_t name, std::uint64_t generation);

    std::uint64_t seed_;
    std::map<std::uint32_t, region_content> regions_;
    std::optional<report> pending_;    // the step that was announced and not finished
    std::optional<report> undecided_;  // the same of a dead writer: done or not, as the next look shows
    closing closing_ = closing::clean;
    std::uint64_t newest_sequence_ = 0;
    std::uint64_t newest_generation_ = 0;
    std::uint64_t next_number_ = 1;
    std::uint64_t appended_ = 0;
    std::uint64_t epoch_ = 0;
    std::uint64_t unreported_steps_ = 0;

    std::map<std::uint32_t, seen_region> look_;
    std::vector<std::pair<seen_entry, std::uint64_t>> merged_;  // with the generation
};

}  // namespace pmemstream::test
