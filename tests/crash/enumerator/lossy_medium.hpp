#pragma once

#include "tests/crash/enumerator/trace.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <vector>

namespace pmemstream::test {

/// What of a file may be on the medium when power is lost.
///
/// The file is cut into units that reach the medium each on its own: cache lines (64 bytes), or sectors (512). A unit
/// may have been written at any moment since it was last made durable, so the medium holds it as it was after any one of
/// the stores to it since then, and every combination of units is possible.
class lossy_medium {
public:
    lossy_medium(image durable, std::uint64_t unit_bytes);

    /// `written`: see trace.
    void apply(const trace_event& event, std::span<const std::byte> written = {});
    [[nodiscard]] std::uint64_t unit_of(const trace_event& store) const { return store.offset / unit_bytes_; }
    [[nodiscard]] std::size_t dirty_units() const { return dirty_.size(); }

    struct limits {
        std::size_t exhaustive_units = 12;  ///< with so many dirty units: every subset of them, old or new
        std::size_t exhaustive_images = 1;  ///< every version of every unit, if these are no more than so many
        std::size_t samples = 0;            ///< where that is not all
    };
    /// Calls `visit` with images that a loss of power might leave now, and their hashes. `newest`: only those in which
    /// this unit is as it is now; the others were there before.
    void for_images(std::optional<std::uint64_t> newest, const limits& within, std::mt19937_64& random,
                    const std::function<void(const image&, std::uint64_t)>& visit);

private:
    struct version {
        std::vector<std::uint64_t> words;
        std::uint64_t hash = 0;
    };
    struct unit {
        std::vector<version> versions;  // the first is durable, the last in memory
        std::size_t flushed = 0;        // durable after the next drain
    };
    struct choice {
        std::uint64_t index = 0;
        const unit* of = nullptr;
        std::size_t taken = 0;
    };

    void add_version(std::uint64_t index, const std::function<void(std::vector<std::uint64_t>&)>& change);
    void settle(std::uint64_t index, std::size_t version);
    void show(const std::vector<choice>& choices, const std::function<void(const image&, std::uint64_t)>& visit);
    void put(std::uint64_t index, const version& content);
    [[nodiscard]] version version_of(std::uint64_t index, std::vector<std::uint64_t> words) const;

    std::uint64_t unit_bytes_;
    image image_;  // what is durable for sure
    std::uint64_t hash_;
    std::vector<unit> units_;
    std::set<std::uint64_t> dirty_;  // with more than one version
    std::set<std::uint64_t> flushing_;
};

}  // namespace pmemstream::test
