#include "tools/verify/snapshot.hpp"

#include "src/format/features.hpp"
#include "src/format/rescan.hpp"
#include "src/format/system_entry.hpp"
#include "src/format/validate.hpp"
#include "tools/common/exit_code.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace pmemstream::tools {

namespace {

constexpr std::uint64_t features_offset = format::header_offset + offsetof(format::shared_header, features);
constexpr std::uint64_t stream_bytes_offset = features_offset + offsetof(format::feature_line, stream_bytes);

class taker {
public:
    explicit taker(const media& from) : from_(from) {}

    snapshot take() {
        if (!read_superblock())
            return std::move(seen_);
        seen_.readable = true;
        const bool alive = from_.writer_alive();
        seen_.identity = from_.at<format::identity_line>(format::header_offset);
        seen_.features = from_.at<format::feature_line>(features_offset);
        read_features();
        read_epochs();
        read_stream_bytes();
        read_table();
        // After the offsets of the regions, each of which it is at least the newest but one of.
        seen_.persisted = from_.at<std::uint64_t>(format::header_offset + offsetof(format::shared_header, persist));
        seen_.committed = from_.at<std::uint64_t>(format::header_offset + offsetof(format::shared_header, commit));
        seen_.state = judge_state(alive || from_.writer_alive());
        check_lines();
        check_unique();
        check_overlap();
        seen_.newest = seen_.committed;
        for (const auto& view : seen_.slots)
            seen_.newest = std::max(seen_.newest, view.slot.commit.sequence);
        return std::move(seen_);
    }

private:
    void add(const char* kind, std::uint64_t offset, std::string what, std::optional<region_label> where = {},
             const char* advice = advice_metadata) {
        seen_.findings.push_back({kind, std::move(where), offset, std::move(what), advice});
    }
    void add(const char* kind, std::uint64_t offset, const error& why, std::optional<region_label> where = {}) {
        add(kind, offset, without_name(why.message(), from_.name()), std::move(where));
    }

    bool read_superblock() {
        std::vector<std::byte> sector(std::min<std::uint64_t>(from_.bytes(), format::sector_bytes));
        from_.read(format::superblock_offset, sector);
        const auto checked = format::check_superblock(sector, from_.bytes(), from_.name());
        if (checked) {
            seen_.superblock = *checked;
            return true;
        }
        if (checked.error().code() != errc::corrupt)
            fail(checked.error());
        add("superblock", format::superblock_offset, checked.error());
        return false;
    }

    /// Ends the tool where the stream has a feature without which nothing in it can be judged.
    void read_features() {
        const auto features = format::read_features(seen_.features, from_.name());
        if (!features) {
            add("header", features_offset, features.error());
            return;
        }
        if (const auto fine = format::check_features(*features, false, from_.name()); !fine)
            fail(fine.error());
        if (const auto fine = format::check_features(*features, true, from_.name()); !fine)
            seen_.notes.push_back(without_name(fine.error().message(), from_.name()));
    }

    void read_epochs() {
        const auto& identity = seen_.identity;
        seen_.own = from_.is_own_identity(identity);
        // One by one: where only the clean epoch is damaged, the other still tells what entries can be there.
        const auto fine = [&](std::uint64_t word, std::uint64_t at) {
            format::identity_line one{};
            one.epoch = word;
            if (format::check_epochs(one, from_.name()))
                return true;
            epochs_whole_ = false;
            add("header", format::header_offset + at,
                fmt::format("an epoch word of the header is damaged ({:#x}): no writer and no reader opens it", word));
            return false;
        };
        if (fine(identity.epoch, offsetof(format::identity_line, epoch)))
            seen_.epoch = format::epoch_of(identity.epoch);
        (void)fine(identity.clean_epoch, offsetof(format::identity_line, clean_epoch));
    }

    void read_stream_bytes() {
        const auto checked =
            format::check_stream_bytes(seen_.features.stream_bytes, seen_.superblock, from_.bytes(), from_.name());
        seen_.stream_bytes = checked.value_or(seen_.superblock.initial_stream_bytes);
        if (checked)
            return;
        if (checked.error().code() != errc::corrupt)
            fail(checked.error());
        add("header", stream_bytes_offset, checked.error());
    }

    void read_table() {
        std::uint64_t offset = format::first_segment_offset;
        std::uint32_t slots = 0;
        for (std::uint32_t index = 0; offset != 0; ++index) {
            const auto header = from_.at<format::segment_header>(offset);
            const auto fine =
                format::check_segment(header, offset, index, seen_.superblock, seen_.stream_bytes, from_.name());
            if (!fine) {
                add("segment", offset, fine.error());
                return;
            }
            if (slots + std::uint64_t{header.slots} > format::region_slots_max) {
                add("segment", offset, fmt::format("more than {} region slots in all", format::region_slots_max));
                return;
            }
            taken_.push_back({offset, header.segment_bytes, fmt::format("table segment {}", index), {}});
            if (index == 0)
                taken_.pop_back();  // it lies before the blocks
            for (std::uint32_t i = 0; i < header.slots; ++i)
                look_at_slot(slots++, offset + sizeof header + i * sizeof(format::region_slot));
            const auto next =
                format::check_segment_link(header.next, seen_.superblock, seen_.stream_bytes, from_.name());
            if (!next)
                add("segment", offset + offsetof(format::segment_header, next), next.error());
            offset = next.value_or(0);
        }
    }

    void look_at_slot(std::uint32_t index, std::uint64_t offset) {
        // Most slots of a table are free, and of a free one nothing but the word means anything.
        const auto state = from_.at<std::uint64_t>(offset);
        if (format::state_of(state) == format::slot_state::free) {
            const std::uint64_t generation = format::generation_of(state);
            if (generation != 0)
                generations_.emplace_back(generation, region_label{{}, index, generation}, offset);
            return;
        }
        const slot_view view{index, offset, read_slot(from_, offset)};
        const auto& cold = view.slot.cold;
        if (format::state_of(cold.state) == format::slot_state::free)
            return;  // since just now
        const std::uint64_t generation = view.generation();
        const region_label unnamed{{}, index, generation};
        if (const auto fine = format::check_cold(cold, index, seen_.superblock, seen_.stream_bytes, from_.name());
            !fine) {
            add("slot", offset, fine.error(), unnamed);
            return;
        }
        const auto label = view.label();
        generations_.emplace_back(generation, label, offset);
        if (generation == 0)
            add("slot", offset, fmt::format("region slot {} is in use with generation 0, which none has", index),
                label);
        if (view.live()) {
            const auto extent = from_.at<format::extent_header>(cold.extent_offset);
            const auto fine = format::check_extent(extent, cold, index, seen_.superblock, from_.name());
            if (!fine && from_.at<std::uint64_t>(offset) != cold.state)
                return;  // it went while it was looked at
            if (!fine)
                add("extent", cold.extent_offset, fine.error(), label);
        }
        taken_.push_back(
            {cold.extent_offset, cold.extent_bytes, fmt::format("the extent of region slot {}", index), label});
        seen_.slots.push_back(view);
    }

    [[nodiscard]] stream_state judge_state(bool alive) const {
        const auto& identity = seen_.identity;
        if (!epochs_whole_)
            return stream_state::unknown;
        if (identity.epoch == identity.clean_epoch)
            return stream_state::clean;
        if (alive)
            return seen_.own ? stream_state::in_use : stream_state::recovering;
        return seen_.own && (identity.medium_flags & format::medium_error_flag) == 0 ? stream_state::process_died
                                                                                     : stream_state::rescan;
    }

    /// What a copy taken in use shows of a commit line is of any moment. An opening writer does not look at it.
    [[nodiscard]] bool any_moment() const noexcept { return !commit_offsets_hold(seen_.state); }
    [[nodiscard]] const char* clean_advice() const noexcept { return seen_.own ? advice_metadata : advice_copy; }

    void check_lines() {
        constexpr std::uint64_t commit_line = format::header_offset + offsetof(format::shared_header, commit);
        if (std::max(seen_.committed, seen_.persisted) > format::sequence_max)
            add("header", commit_line,
                fmt::format("the header gives an impossible sequence: committed {}, persisted {}", seen_.committed,
                            seen_.persisted));
        const bool clean = seen_.state == stream_state::clean;
        if (clean ? seen_.committed != seen_.persisted : !any_moment() && seen_.persisted > seen_.committed)
            add("header", commit_line,
                fmt::format("{}the header's committed sequence is {}, its persisted sequence {}",
                            clean ? "closed cleanly, yet " : "", seen_.committed, seen_.persisted),
                {}, clean ? clean_advice() : advice_metadata);
        std::erase_if(seen_.slots, [&](const slot_view& view) { return view.live() && !lines_hold(view, clean); });
    }

    /// False when there is no telling where the region's entries end.
    bool lines_hold(const slot_view& view, bool clean) {
        const auto& [cold, commit, persist] = view.slot;
        if (format::unknown_slot_flags(cold) != 0)
            return true;  // what its lines say may mean something else
        const std::uint64_t line = view.offset + offsetof(format::region_slot, commit);
        const std::uint64_t persisted = format::persisted_offset_of(persist.persisted);
        const bool rescans = seen_.rescans(view.slot);
        const auto [last, first] = any_moment() ? std::pair(persisted, persisted)
                                   : rescans    ? std::pair(persisted, commit.commit_offset)
                                                : std::pair(commit.commit_offset, persisted);
        const std::uint64_t head_bytes = format::head_entry_bytes(from_.at<format::entry_header>(view.begin()),
                                                                  cold.extent_bytes - sizeof(format::extent_header));
        const auto fine = format::check_offsets(last, first, cold, head_bytes, view.index, from_.name());
        if (!fine) {
            add("offsets", line, fine.error(), view.label());
            return false;
        }
        const unsigned epoch_bits = format::persisted_epoch_of(persist.persisted);
        if (clean && (persist.persisted != format::persisted_word(commit.commit_offset, seen_.epoch.value_or(0)) ||
                      commit.sequence != persist.sequence || commit.mark_offset != persist.mark_offset))
            add("clean_rule", line,
                fmt::format("region slot {}: closed cleanly by the writer of epoch {}, yet committed ({}, sequence {}) "
                            "and persisted ({}, sequence {}, epoch {} modulo 256) differ",
                            view.index, seen_.epoch.value_or(0), commit.commit_offset, commit.sequence, persisted,
                            persist.sequence, epoch_bits),
                view.label(), clean_advice());
        if (!clean && seen_.epoch && !seen_.persisted_of(view.slot))
            add("offsets", view.offset + offsetof(format::region_slot, persist),
                fmt::format("region slot {}: its persisted word is of an epoch ({} modulo 256) after the header's, {}",
                            view.index, epoch_bits, *seen_.epoch),
                view.label());
        // Of whatever moment the rest is, none has such sequences.
        if (persist.sequence > format::sequence_max)
            add("offsets", view.offset + offsetof(format::region_slot, persist),
                fmt::format("region slot {}: an impossible persisted sequence: {}", view.index, persist.sequence),
                view.label());
        if (!any_moment() && ((!clean && !seen_.judges_tails() && persist.sequence > commit.sequence) ||
                              commit.sequence > format::sequence_max))
            add("offsets", line + offsetof(format::slot_commit_line, sequence),
                fmt::format("region slot {}: committed sequence {}, persisted sequence {}", view.index, commit.sequence,
                            persist.sequence),
                view.label());
        if (clean && commit.sequence > seen_.committed)
            add("sequences", line + offsetof(format::slot_commit_line, sequence),
                fmt::format("region slot {}: its committed sequence {} is above the stream's, {}", view.index,
                            commit.sequence, seen_.committed),
                view.label());
        return true;
    }

    void check_unique() {
        std::sort(generations_.begin(), generations_.end(),
                  [](const auto& a, const auto& b) { return std::get<0>(a) < std::get<0>(b); });
        for (std::size_t i = 1; i < generations_.size(); ++i) {
            const auto& [generation, label, offset] = generations_[i];
            if (generation == std::get<0>(generations_[i - 1]))
                add("generation", offset,
                    fmt::format("region slots {} and {} both have generation {}", std::get<1>(generations_[i - 1]).slot,
                                label.slot, generation),
                    label);
        }
        std::unordered_map<std::string, std::uint32_t> names;
        for (const auto& view : seen_.slots) {
            const auto label = view.label();
            if (label.name.empty())
                continue;
            const auto [first, fresh] = names.emplace(label.name, view.index);
            if (!fresh)
                add("name", view.offset + offsetof(format::slot_cold, name),
                    fmt::format("region slots {} and {} have the same name", first->second, view.index), label);
        }
    }

    void check_overlap() {
        std::sort(taken_.begin(), taken_.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
        const extent* furthest = nullptr;
        for (const auto& extent : taken_) {
            if (furthest != nullptr && extent.offset < furthest->offset + furthest->bytes)
                add("overlap", extent.offset,
                    fmt::format("{} ({} bytes) lies over {} ({} bytes at offset {})", extent.what, extent.bytes,
                                furthest->what, furthest->bytes, furthest->offset),
                    extent.where ? extent.where : furthest->where);
            if (furthest == nullptr || extent.offset + extent.bytes > furthest->offset + furthest->bytes)
                furthest = &extent;
        }
    }

    struct extent {
        std::uint64_t offset;
        std::uint64_t bytes;
        std::string what;
        std::optional<region_label> where;
    };

    const media& from_;
    snapshot seen_;
    bool epochs_whole_ = true;
    std::vector<extent> taken_;
    std::vector<std::tuple<std::uint64_t, region_label, std::uint64_t>> generations_;
};

}  // namespace

const char* to_string(stream_state state) noexcept {
    switch (state) {
        case stream_state::clean:
            return "clean";
        case stream_state::in_use:
            return "in_use";
        case stream_state::recovering:
            return "recovering";
        case stream_state::process_died:
            return "process_died";
        case stream_state::rescan:
            return "rescan";
        case stream_state::unknown:
            break;
    }
    return "unknown";
}

std::optional<persisted_place> snapshot::persisted_of(const format::region_slot& slot) const noexcept {
    const std::uint64_t word = slot.persist.persisted;
    const auto at = epoch ? format::recent_epoch(*epoch, format::persisted_epoch_of(word)) : std::nullopt;
    return at ? std::optional(persisted_place{format::persisted_offset_of(word), *at}) : std::nullopt;
}

region_label slot_view::label() const {
    return {std::string(format::name_of(slot.cold)), index, generation()};
}

std::string without_name(const std::string& message, const std::string& name) {
    return message.starts_with(name + ": ") ? message.substr(name.size() + 2) : message;
}

format::region_slot read_slot(const media& from, std::uint64_t offset) {
    constexpr int tries = 1000;
    format::region_slot slot{};
    for (int i = 0; i < tries; ++i) {
        const auto state = from.at<std::uint64_t>(offset);
        slot.persist = from.at<format::slot_persist_line>(offset + offsetof(format::region_slot, persist));
        slot.commit = from.at<format::slot_commit_line>(offset + offsetof(format::region_slot, commit));
        slot.commit.sequence = from.at<std::uint64_t>(offset + offsetof(format::region_slot, commit) +
                                                      offsetof(format::slot_commit_line, sequence));
        slot.cold = from.at<format::slot_cold>(offset);
        if (slot.cold.state == state && from.at<std::uint64_t>(offset) == state)
            break;
    }
    return slot;
}

snapshot take_snapshot(const media& from) {
    constexpr int tries = 16;
    for (int i = 1;; ++i) {
        auto seen = taker(from).take();
        const bool settled = !seen.readable || (seen.findings.empty() && same_writer(from, seen));
        if (settled || i == tries || (!from.writer_alive() && same_writer(from, seen)))
            return seen;
    }
}

bool same_writer(const media& from, const snapshot& before) {
    const auto now = from.at<format::identity_line>(format::header_offset);
    return now.epoch == before.identity.epoch && now.clean_epoch == before.identity.clean_epoch;
}

}  // namespace pmemstream::tools
