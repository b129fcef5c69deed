#pragma once

#include "tests/crash/enumerator/seen_stream.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pmemstream::test {

/// What a recovery keeps whole or not at all: an entry, or a batch. The bytes of headers and payloads, one by one.
struct model_unit {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t newest = 0;  ///< sequence; 0 for a filler
    std::vector<std::vector<std::byte>> entries{};
    std::vector<std::uint64_t> offsets{};
};
using model_units = std::vector<std::shared_ptr<const model_unit>>;
/// Those that lie in [begin, end).
[[nodiscard]] model_units units_in(std::span<const std::byte> file, std::uint64_t begin, std::uint64_t end);

struct model_region {
    std::string name;
    std::uint64_t generation = 0;
    std::uint64_t begin = 0;
    model_units units{};

    [[nodiscard]] std::uint64_t end() const { return units.empty() ? begin : units.back()->end; }
    [[nodiscard]] std::uint64_t newest() const;
};

/// The call that has not returned yet: what it does may be there or not.
struct model_call {
    enum class kind : std::uint8_t { none, create, append, allocate, free, clear };
    kind what = kind::none;
    std::uint64_t generation = 0;  ///< of the region in question
    std::string name{};            ///< of the one to be allocated
    model_units units{};           ///< to be appended; filled in afterwards
};

/// How the stream came to be opened again.
enum class crash : std::uint8_t {
    power_lost,    ///< what was not durable may be there or not
    process_died,  ///< everything committed is there
    pages_lost     ///< the process died, and the medium had refused pages: what was not durable may be there or not
};

/// What a stream holds according to its callers, and what of it they were promised.
///
/// Two kinds of promises. By returning: an entry that was to be persisted is, regions are allocated, freed, cleared. By
/// a word that readers see: what lies before a persisted (committed) offset in memory survives the loss of power (the
/// death of the process).
struct stream_model {
    std::vector<model_region> regions;
    model_call call;
    std::map<std::uint64_t, std::uint64_t> must_end;    ///< by generation: power loss leaves everything up to here
    std::map<std::uint64_t, std::uint64_t> commit_end;  ///< likewise the death of the process
    std::uint64_t newest_persisted = 0;                 ///< sequences that must not be given again, by power loss
    std::uint64_t newest_committed = 0;                 ///< by the death of a process
    std::uint64_t newest_generation = 0;

    [[nodiscard]] model_region& region(const std::string& name);
    [[nodiscard]] const model_region* find(std::uint64_t generation) const;

    /// Everything that is there, with entries up to the sequence, is persisted now.
    void persisted_up_to(std::uint64_t sequence);
    void must_reach(std::uint64_t generation, std::uint64_t offset);

    /// Compares with what the opening after a crash left; throws std::runtime_error with a sentence. Returns the
    /// sequence that all later entries must exceed.
    [[nodiscard]] std::uint64_t compare(const seen_stream& seen, crash how) const;
    /// Takes what was seen, which compares well, as what there is from now on.
    void adopt(const seen_stream& seen, crash how, std::uint64_t newest);
};

}  // namespace pmemstream::test
