#include "tests/crash/kill_model.hpp"

#include "tests/support/require.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pmemstream::test {

void kill_model::note_generation(std::uint32_t name, std::uint64_t generation) {
    require(generation > newest_generation_, "region {}: generation {} after {}", name, generation, newest_generation_);
    newest_generation_ = generation;
}

void kill_model::take(const report& told) {
    switch (told.kind) {
        case report_kind::about_to_open:
        case report_kind::about_to_append:
        case report_kind::about_to_allocate:
        case report_kind::about_to_free:
        case report_kind::about_to_clear:
        case report_kind::about_to_persist:
        case report_kind::about_to_close:
            pending_ = told;
            return;
        case report_kind::opened: {
            const bool clean = told.number == 0;
            require(told.number <= 1, "an opening after a killed process rescanned ({})", told.number);
            require(closing_ == closing::either || clean == (closing_ == closing::clean),
                    "found the stream {} where it was {}", clean ? "clean" : "unclean", clean ? "unclean" : "clean");
            require(told.value > epoch_, "epoch {} after {}", told.value, epoch_);
            epoch_ = told.value;
            closing_ = closing::unclean;
            break;
        }
        case report_kind::persisted:
            require(told.value >= newest_sequence_, "persisted up to {}, while {} was appended", told.value,
                    newest_sequence_);
            break;
        case report_kind::closed:
            closing_ = closing::clean;
            break;
        case report_kind::appended: {
            auto& entries = regions_.at(told.region).entries;
            require(told.extra - told.value + 1 > newest_sequence_, "sequences {} to {} given after {}",
                    told.extra - told.value + 1, told.extra, newest_sequence_);
            for (std::uint64_t i = 0; i < told.value; ++i)
                entries.push_back({told.number + i, told.extra - told.value + 1 + i});
            newest_sequence_ = told.extra;
            appended_ += told.value;
            next_number_ = told.number + told.value;
            break;
        }
        case report_kind::allocated:
            note_generation(told.region, told.value);
            require(regions_.emplace(told.region, region_content{told.value, {}}).second, "region {} twice",
                    told.region);
            break;
        case report_kind::freed:
            regions_.erase(told.region);
            break;
        case report_kind::cleared:
            note_generation(told.region, told.value);
            regions_.at(told.region) = {told.value, {}};
            break;
        default:
            throw std::runtime_error("a report out of place");
    }
    pending_.reset();
}

void kill_model::writer_died(bool point_is_known, bool epoch_was_stored) {
    if (!pending_)
        return;
    if (pending_->kind == report_kind::about_to_open) {
        closing_ = !point_is_known ? closing::either : epoch_was_stored ? closing::unclean : closing_;
    } else if (pending_->kind == report_kind::about_to_close) {
        closing_ = point_is_known ? closing_ : closing::either;
    } else if (pending_->kind != report_kind::about_to_persist) {
        require(!undecided_, "a writer went on before it was looked what the one before it left half done");
        undecided_ = pending_;
        // A number is used once: whether a half-done append is there is found out by what it wrote.
        if (pending_->kind == report_kind::about_to_append)
            next_number_ = pending_->number + pending_->value;
    }
    pending_.reset();
}

void kill_model::take_look(const report& told, bool recovered) {
    switch (told.kind) {
        case report_kind::look_begins:
            look_.clear();
            merged_.clear();
            break;
        case report_kind::look_region:
            require(look_.emplace(told.region, seen_region{told.value, {}}).second, "region {} is listed twice",
                    told.region);
            break;
        case report_kind::look_entry: {
            auto& region = look_.at(told.region);
            require(told.extra == region.generation, "region {}: an entry of generation {}", told.region, told.extra);
            region.entries.push_back({told.number, told.value});
            break;
        }
        case report_kind::look_merged:
            merged_.push_back({{told.number, told.value}, told.extra});
            break;
        case report_kind::look_ends:
            compare_merged(recovered);
            compare_look(recovered);
            break;
        default:
            throw std::runtime_error("a report out of place");
    }
}

/// The merged cursor shows what the regions' cursors show, in sequence order. Before the next opening it may lack a
/// last step that was never reported: a writer killed between its two commit stores has told the region and not the
/// stream.
void kill_model::compare_merged(bool recovered) const {
    std::vector<std::pair<seen_entry, std::uint64_t>> by_region;
    for (const auto& [name, region] : look_)
        for (const auto& e : region.entries)
            by_region.push_back({e, region.generation});
    std::sort(by_region.begin(), by_region.end(),
              [](const auto& a, const auto& b) { return a.first.sequence < b.first.sequence; });
    if (!recovered && by_region.size() > merged_.size()) {
        const std::size_t lacking = by_region.size() - merged_.size();
        require(undecided_ && undecided_->kind == report_kind::about_to_append && lacking == undecided_->value &&
                    by_region[merged_.size()].first.sequence > newest_sequence_,
                "the merged cursor lacks {} entries that were reported", lacking);
        by_region.resize(merged_.size());
    }
    require(by_region.size() == merged_.size(), "{} entries in regions, {} in the merged cursor", by_region.size(),
            merged_.size());
    for (std::size_t i = 0; i < merged_.size(); ++i) {
        const auto& [entry, generation] = merged_[i];
        require(entry.sequence == by_region[i].first.sequence && entry.digest == by_region[i].first.digest &&
                    generation == by_region[i].second,
                "the merged cursor's entry with sequence {} is another", entry.sequence);
        require(i == 0 || entry.sequence > merged_[i - 1].first.sequence, "sequence {} is there twice", entry.sequence);
    }
}

void kill_model::compare_look(bool recovered) {
    const auto expected = regions_;  // deciding changes them
    for (const auto& [name, region] : expected) {
        const auto found = look_.find(name);
        if (found == look_.end())
            decide_missing(name, recovered);
        else
            compare_region(name, region, found->second, recovered);
    }
    for (const auto& [name, found] : look_)
        if (!expected.contains(name))
            decide_extra(name, found, recovered);
    if (recovered)
        undecided_.reset();
}

void kill_model::check_same(std::uint32_t name, const numbered& expected, const seen_entry& found) const {
    require(expected.sequence == found.sequence, "region {}: entry {} had sequence {}, now {}", name, expected.number,
            expected.sequence, found.sequence);
    require(digest(kill_payload(seed_, expected.number)) == found.digest, "region {}: entry {} has another content",
            name, expected.number);
}

void kill_model::compare_region(std::uint32_t name, const region_content& expected, const seen_region& found,
                                bool recovered) {
    const bool decides = undecided_ && undecided_->region == name;
    if (found.generation != expected.generation) {
        require(decides && undecided_->kind == report_kind::about_to_clear && found.entries.empty(),
                "region {} has generation {}, not {}", name, found.generation, expected.generation);
        if (recovered) {
            note_generation(name, found.generation);
            regions_.at(name) = {found.generation, {}};
            ++unreported_steps_;
        }
        return;
    }
    const std::size_t reported = expected.entries.size();
    require(found.entries.size() >= reported, "region {}: {} of {} reported entries are there", name,
            found.entries.size(), reported);
    for (std::size_t i = 0; i < reported; ++i)
        check_same(name, expected.entries[i], found.entries[i]);
    const std::size_t more = found.entries.size() - reported;
    if (more == 0)
        return;
    require(decides && undecided_->kind == report_kind::about_to_append && more == undecided_->value,
            "region {}: {} entries more than were written, or part of a batch", name, more);
    std::uint64_t newest = newest_sequence_;
    auto& entries = regions_.at(name).entries;
    for (std::size_t i = 0; i < more; ++i) {
        const auto& extra = found.entries[reported + i];
        require(extra.sequence > newest, "region {}: sequence {} after {}", name, extra.sequence, newest);
        newest = extra.sequence;
        check_same(name, {undecided_->number + i, extra.sequence}, extra);
        if (recovered)
            entries.push_back({undecided_->number + i, extra.sequence});
    }
    if (recovered) {
        newest_sequence_ = newest;
        ++unreported_steps_;
    }
}

void kill_model::decide_missing(std::uint32_t name, bool recovered) {
    const bool decides = undecided_ && undecided_->region == name;
    const bool freed = decides && undecided_->kind == report_kind::about_to_free;
    // Half cleared, it is nothing that a reader can use; the next writer finishes it.
    const bool half_cleared = decides && undecided_->kind == report_kind::about_to_clear && !recovered;
    require(freed || half_cleared, "region {} is gone", name);
    if (recovered) {
        regions_.erase(name);
        ++unreported_steps_;
    }
}

void kill_model::decide_extra(std::uint32_t name, const seen_region& found, bool recovered) {
    require(undecided_ && undecided_->region == name && undecided_->kind == report_kind::about_to_allocate &&
                found.entries.empty(),
            "region {} appeared", name);
    if (recovered) {
        note_generation(name, found.generation);
        regions_.emplace(name, region_content{found.generation, {}});
        ++unreported_steps_;
    }
}

std::uint64_t kill_model::entries() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [name, region] : regions_)
        sum += region.entries.size();
    return sum;
}

}  // namespace pmemstream::test
