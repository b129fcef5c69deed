#include "tests/crash/enumerator/lossy_medium.hpp"

#include <algorithm>
#include <utility>

namespace pmemstream::test {

lossy_medium::lossy_medium(image durable, std::uint64_t unit_bytes)
    : unit_bytes_(unit_bytes),
      image_(std::move(durable)),
      hash_(image_hash(image_)),
      units_(image_.size() / unit_bytes) {}

lossy_medium::version lossy_medium::version_of(std::uint64_t index, std::vector<std::uint64_t> words) const {
    version made{std::move(words), 0};
    for (std::size_t i = 0; i < made.words.size(); ++i)
        made.hash += word_hash(index * unit_bytes_ + 8 * i, made.words[i]);
    return made;
}

void lossy_medium::apply(const trace_event& event, std::span<const std::byte> written) {
    using kind = trace_event::kind;
    const std::uint64_t first = event.offset / unit_bytes_;
    const std::uint64_t last = (event.offset + std::max(event.bytes, 1u) - 1) / unit_bytes_;
    switch (event.what) {
        case kind::store:
            add_version(first, [&](auto& words) { words[event.offset % unit_bytes_ / 8] = event.value; });
            break;
        case kind::write:
            // Units reach the medium each on its own, also those of one write.
            for (std::uint64_t i = first; i <= last; ++i)
                add_version(i, [&](auto& words) {
                    std::memcpy(words.data(), written.data() + event.value + (i - first) * unit_bytes_, unit_bytes_);
                });
            break;
        case kind::flush:
            for (std::uint64_t i = first; i <= last; ++i)
                if (!units_[i].versions.empty()) {
                    units_[i].flushed = units_[i].versions.size() - 1;
                    flushing_.insert(i);
                }
            break;
        case kind::drain:
            for (const auto i : std::exchange(flushing_, {}))
                settle(i, units_[i].flushed);
            break;
        case kind::sync:
            for (std::uint64_t i = first; i <= last; ++i)
                if (!units_[i].versions.empty())
                    settle(i, units_[i].versions.size() - 1);
            break;
        case kind::seen:
        case kind::mark:
            break;
    }
}

void lossy_medium::add_version(std::uint64_t index, const std::function<void(std::vector<std::uint64_t>&)>& change) {
    auto& unit = units_[index];
    if (unit.versions.empty()) {
        std::vector<std::uint64_t> words(unit_bytes_ / 8);
        std::memcpy(words.data(), image_.data() + index * unit_bytes_, unit_bytes_);
        unit.versions.push_back(version_of(index, std::move(words)));
    }
    auto words = unit.versions.back().words;
    change(words);
    if (words == unit.versions.back().words) {  // a page was written for the sake of another unit
        if (unit.versions.size() == 1)
            unit.versions.clear();
        return;
    }
    unit.versions.push_back(version_of(index, std::move(words)));
    dirty_.insert(index);
}

void lossy_medium::settle(std::uint64_t index, std::size_t version) {
    auto& unit = units_[index];
    hash_ += unit.versions[version].hash - unit.versions.front().hash;
    unit.versions.erase(unit.versions.begin(), unit.versions.begin() + static_cast<std::ptrdiff_t>(version));
    unit.flushed = 0;
    put(index, unit.versions.front());
    if (unit.versions.size() == 1) {
        unit.versions.clear();
        dirty_.erase(index);
    }
}

void lossy_medium::put(std::uint64_t index, const version& content) {
    std::memcpy(image_.data() + index * unit_bytes_, content.words.data(), unit_bytes_);
}

void lossy_medium::show(const std::vector<choice>& choices,
                        const std::function<void(const image&, std::uint64_t)>& visit) {
    std::uint64_t hash = hash_;
    for (const auto& c : choices) {
        hash += c.of->versions[c.taken].hash - c.of->versions.front().hash;
        put(c.index, c.of->versions[c.taken]);
    }
    visit(image_, hash);
    for (const auto& c : choices)
        put(c.index, c.of->versions.front());
}

void lossy_medium::for_images(std::optional<std::uint64_t> newest, const limits& within, std::mt19937_64& random,
                              const std::function<void(const image&, std::uint64_t)>& visit) {
    std::vector<choice> choices;
    std::size_t all = 1;
    for (const auto index : dirty_) {
        const auto& unit = units_[index];
        if (index == newest)
            continue;
        choices.push_back({index, &unit, 0});
        all = std::min(all * unit.versions.size(), std::size_t{1} << 40);
    }
    const std::size_t free = choices.size();  // the rest is fixed
    if (newest)
        choices.push_back({*newest, &units_[*newest], units_[*newest].versions.size() - 1});
    if (all <= within.exhaustive_images) {
        for (std::size_t n = 0; n < all; ++n) {
            std::size_t rest = n;
            for (std::size_t i = 0; i < free; ++i) {
                choices[i].taken = rest % choices[i].of->versions.size();
                rest /= choices[i].of->versions.size();
            }
            show(choices, visit);
        }
        return;
    }
    const auto newest_of = [&](std::size_t i) { return choices[i].of->versions.size() - 1; };
    if (free <= within.exhaustive_units) {
        for (std::size_t subset = 0; subset < std::size_t{1} << free; ++subset) {
            for (std::size_t i = 0; i < free; ++i)
                choices[i].taken = (subset >> i & 1) != 0 ? newest_of(i) : 0;
            show(choices, visit);
        }
    } else {
        // All old, all new, and each alone the other way round; or some of these.
        const std::size_t ends_max = 2 * within.samples;
        const std::size_t ends = 2 * free + 2;
        for (std::size_t n = 0; n < std::min(ends, ends_max); ++n) {
            const std::size_t odd = ends <= ends_max ? n : n < 2 ? 2 * free + n : random() % ends;
            for (std::size_t i = 0; i < free; ++i)
                choices[i].taken = (odd % 2 != 0) != (odd / 2 == i) ? newest_of(i) : 0;
            show(choices, visit);
        }
    }
    for (std::size_t n = 0; n < within.samples; ++n) {
        // Half of them from the ends, where what must not be torn apart is torn apart.
        const bool ends = random() % 2 != 0;
        for (std::size_t i = 0; i < free; ++i)
            choices[i].taken =
                ends ? (random() % 2 != 0 ? newest_of(i) : 0) : random() % choices[i].of->versions.size();
        show(choices, visit);
    }
}

}  // namespace pmemstream::test
