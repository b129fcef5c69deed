#include "tests/crash/enumerator/stream_model.hpp"

#include "tests/support/require.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pmemstream::test {

namespace {

std::uint64_t value_or(const std::map<std::uint64_t, std::uint64_t>& from, std::uint64_t key, std::uint64_t otherwise) {
    const auto found = from.find(key);
    return found == from.end() ? otherwise : found->second;
}

/// The region's units as far as the region was seen to reach, and whether each is as it was written.
std::size_t compare_entries(const model_region& region, const model_units& units, const seen_region& seen) {
    require(seen.begin == region.begin && seen.name == region.name, "region {} lies at {}, not at {}", seen.name,
            seen.begin, region.begin);
    std::size_t entry = 0;
    std::size_t whole = 0;
    for (; whole < units.size() && entry < seen.entries.size(); ++whole) {
        const auto& unit = *units[whole];
        for (std::size_t i = 0; i < unit.entries.size(); ++i, ++entry) {
            require(entry < seen.entries.size(), "region {} ends in the middle of a batch, at {}", region.name,
                    seen.committed);
            const auto& found = seen.entries[entry];
            require(found.offset == unit.offsets[i] && std::equal(found.bytes.begin(), found.bytes.end(),
                                                                  unit.entries[i].begin(), unit.entries[i].end()),
                    "region {}: the entry at {} (sequence {}) is not what was written there", region.name, found.offset,
                    found.sequence());
        }
    }
    require(entry == seen.entries.size(), "region {}: the entry at {} (sequence {}) was cut before, or never committed",
            region.name, entry < seen.entries.size() ? seen.entries[entry].offset : 0,
            entry < seen.entries.size() ? seen.entries[entry].sequence() : 0);
    return whole;
}

}  // namespace

model_units units_in(std::span<const std::byte> file, std::uint64_t begin, std::uint64_t end) {
    model_units units;
    model_unit open{.begin = begin};
    for (const auto& entry : see_entries(file, begin, end)) {
        open.entries.emplace_back(entry.bytes.begin(), entry.bytes.end());
        open.offsets.push_back(entry.offset);
        open.newest = entry.sequence();
        open.end = entry.offset + (16 + std::uint64_t{entry.payload_bytes} + 7) / 8 * 8;
        if (entry.goes_on())
            continue;
        const std::uint64_t next = open.end;
        units.push_back(std::make_shared<model_unit>(std::exchange(open, model_unit{.begin = next})));
    }
    require(open.entries.empty(), "a batch without its end before {}", end);
    return units;
}

std::uint64_t model_region::newest() const {
    std::uint64_t newest = 0;
    for (const auto& unit : units)
        newest = std::max(newest, unit->newest);
    return newest;
}

model_region& stream_model::region(const std::string& name) {
    for (auto& r : regions)
        if (r.name == name)
            return r;
    throw std::logic_error("no region " + name);
}

const model_region* stream_model::find(std::uint64_t generation) const {
    for (const auto& r : regions)
        if (r.generation == generation)
            return &r;
    return nullptr;
}

void stream_model::must_reach(std::uint64_t generation, std::uint64_t offset) {
    auto& end = must_end[generation];
    end = std::max(end, offset);
}

void stream_model::persisted_up_to(std::uint64_t sequence) {
    for (const auto& r : regions)
        for (const auto& unit : r.units)
            if (unit->newest != 0 && unit->newest <= sequence)
                must_reach(r.generation, unit->end);
    newest_persisted = std::max(newest_persisted, sequence);
}

std::uint64_t stream_model::compare(const seen_stream& seen, crash how) const {
    const bool lost_power = how != crash::process_died;
    std::uint64_t newest = lost_power ? newest_persisted : newest_committed;
    std::size_t known = 0;
    const seen_region* cleared = nullptr;
    for (const auto& region : regions) {
        const auto found = std::find_if(seen.regions.begin(), seen.regions.end(),
                                        [&](const auto& s) { return s.generation == region.generation; });
        const bool in_question = call.generation == region.generation;
        if (found == seen.regions.end()) {
            const bool clearing = call.what == model_call::kind::clear && in_question;
            require((call.what == model_call::kind::free && in_question) || clearing, "region {} is lost", region.name);
            newest = std::max(newest, region.newest());
            if (!clearing)
                continue;
            const auto emptied = std::find_if(seen.regions.begin(), seen.regions.end(),
                                              [&](const auto& s) { return s.name == region.name; });
            require(emptied != seen.regions.end() && emptied->begin == region.begin,
                    "region {} is lost while it is cleared", region.name);
            cleared = &*emptied;
            continue;
        }
        ++known;
        auto units = region.units;
        const bool appending = call.what == model_call::kind::append && in_question;
        if (appending)
            units.insert(units.end(), call.units.begin(), call.units.end());
        const std::size_t kept = compare_entries(region, units, *found);
        const std::uint64_t must = value_or(lost_power ? must_end : commit_end, region.generation, region.begin);
        require(found->committed >= must, "region {} reaches up to {}, but {} was promised", region.name,
                found->committed, must);
        if (!lost_power)
            require(kept == region.units.size() || (appending && (kept == units.size() || seen.in_pages)),
                    "region {} holds {} of {} committed entries and batches after its writer died", region.name, kept,
                    region.units.size());
        for (std::size_t i = 0; i < units.size(); ++i)
            if (i < kept || units[i]->end <= must)
                newest = std::max(newest, units[i]->newest);
    }
    for (const auto& s : seen.regions) {
        if (find(s.generation) != nullptr)
            continue;
        require((call.what == model_call::kind::allocate && s.name == call.name) || &s == cleared,
                "region {} of generation {} was freed, or never allocated", s.name, s.generation);
        require(s.generation > newest_generation, "generation {} after {}", s.generation, newest_generation);
        require(s.committed == s.begin, "the new region {} is not empty", s.name);
        ++known;
    }
    require(known == seen.regions.size(), "{} regions, {} of them known", seen.regions.size(), known);
    for (const auto& s : seen.regions)
        for (const auto& e : s.entries)
            require(e.sequence() <= seen.committed_sequence && e.sequence() <= s.committed_sequence,
                    "region {} holds sequence {}; its last is said to be {}, and the stream's {}", s.name, e.sequence(),
                    s.committed_sequence, seen.committed_sequence);
    return newest;
}

void stream_model::adopt(const seen_stream& seen, crash how, std::uint64_t newest) {
    std::vector<model_region> now;
    for (const auto& s : seen.regions) {
        model_region region{.name = s.name, .generation = s.generation, .begin = s.begin};
        if (const auto* before = find(s.generation)) {
            region.units = before->units;
            if (call.what == model_call::kind::append && call.generation == s.generation)
                region.units.insert(region.units.end(), call.units.begin(), call.units.end());
            std::erase_if(region.units, [&](const auto& unit) { return unit->end > s.committed; });
        }
        if (how == crash::power_lost)
            must_end[s.generation] = s.committed;
        commit_end[s.generation] = s.committed;
        newest_generation = std::max(newest_generation, s.generation);
        now.push_back(std::move(region));
    }
    regions = std::move(now);
    call = {};
    if (how == crash::power_lost)
        newest_persisted = newest_committed = newest;  // what was lost may be given again
    else
        newest_committed = newest;
}

}  // namespace pmemstream::test
