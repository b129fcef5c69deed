#include "tests/model/modelled_stream.hpp"
#include "tests/support/require.hpp"

#include <algorithm>
#include <vector>

namespace pmemstream::test {

/// Cursors that were made long ago show what came since, once.
void modelled_stream::follow() {
    ++counts_.followed;
    if (!reader_) {
        reader_ = stream_.read();
        all_ = must(reader_->follow_all({.check_crc = true}));
        all_last_ = 0;
    }
    std::vector<const model_entry*> expected;
    for (const auto& r : regions_)
        for (const auto& e : r.entries)
            if (e.sequence > all_last_)
                expected.push_back(&e);
    std::ranges::sort(expected, {}, &model_entry::sequence);
    std::size_t shown = 0;
    for (unsigned gone = 0; gone < 10'000;) {
        const auto got = all_->next();
        if (!got) {
            require(code_of(got) == "region_gone", "the merged cursor: {}", message_of(got));
            ++gone;
            continue;
        }
        if (!*got)
            break;
        require(shown < expected.size() && to_uint((*got)->sequence()) == expected[shown]->sequence &&
                    std::ranges::equal((*got)->payload(), expected[shown]->payload),
                "the merged cursor shows sequence {}, {} of {}", to_uint((*got)->sequence()), shown, expected.size());
        all_last_ = expected[shown++]->sequence;
    }
    require(shown == expected.size(), "the merged cursor shows {} of {} entries", shown, expected.size());

    for (auto at = cursors_.begin(); at != cursors_.end();) {
        const auto of = std::ranges::find(regions_, at->where, &model_region::handle);
        if (of == regions_.end()) {
            require(code_of(at->at.next()) == "region_gone", "a cursor goes on in a region that is gone");
            at = cursors_.erase(at);
            continue;
        }
        while (const auto e = must(at->at.next())) {
            require(at->shown < of->entries.size() &&
                        std::ranges::equal(e->payload(), of->entries[at->shown].payload) &&
                        to_uint(e->sequence()) == of->entries[at->shown].sequence,
                    "a cursor shows something else as entry {}", at->shown);
            ++at->shown;
        }
        require(at->shown == of->entries.size(), "a cursor shows {} of {} entries", at->shown, of->entries.size());
        ++at;
    }
    for (const auto& r : regions_)
        if (std::ranges::find(cursors_, r.handle, &live_cursor::where) == cursors_.end())
            cursors_.push_back({r.handle, must(reader_->follow(r.handle, {.check_crc = true}))});
}

void modelled_stream::compare() {
    ++counts_.compared;
    const auto from = stream_.read();
    compare_regions(from);
    compare_entries(from);
    compare_space(from);
}

void modelled_stream::compare_regions(const reader& from) const {
    for (const auto& listed : {must(writer_->regions()), must(from.regions())}) {
        require(listed.size() == regions_.size(), "{} regions, not {}", listed.size(), regions_.size());
        for (std::size_t i = 0; i < listed.size(); ++i) {
            const auto& r = regions_[i];
            require(listed[i].handle == r.handle && listed[i].name == r.name, "region {} is another", i);
            require(listed[i].size_bytes == r.size_bytes && listed[i].used_bytes == r.used_bytes,
                    "region {}: {} of {} bytes used, not {} of {}", i, listed[i].used_bytes, listed[i].size_bytes,
                    r.used_bytes, r.size_bytes);
            require(r.name.empty() || must(from.find(r.name)) == r.handle, "region {} is not found by its name", i);
            require(r.entries.empty() || to_uint(listed[i].first) <= r.entries.front().sequence,
                    "region {} says that it is younger than its entries", i);
        }
    }
}

void modelled_stream::compare_entries(const reader& from) {
    std::vector<const model_entry*> all;
    for (const auto& r : regions_) {
        auto cursor = must(from.follow(r.handle, {.check_crc = true}));
        std::size_t n = 0;
        for (const entry& e : cursor) {
            require(n < r.entries.size() && to_uint(e.sequence()) == r.entries[n].sequence &&
                        std::ranges::equal(e.payload(), r.entries[n].payload) && e.where() == r.handle,
                    "slot {}: entry {} is another", r.handle.index(), n);
            ++n;
        }
        must(cursor.status());
        require(n == r.entries.size(), "slot {}: {} of {} entries", r.handle.index(), n, r.entries.size());
        require(cursor.lag().bytes == 0, "a cursor at the end lags");
        for (const auto& e : r.entries)
            all.push_back(&e);
    }
    std::ranges::sort(all, {}, &model_entry::sequence);
    // From the oldest, and from somewhere in the middle.
    const std::uint64_t behind = all.empty() ? 0 : all[numbers_ % all.size()]->sequence;
    for (const std::uint64_t start : {std::uint64_t{0}, behind}) {
        auto next = std::ranges::upper_bound(all, start, {}, &model_entry::sequence);
        auto merged = must(from.follow_all({.start = after{sequence{start}}, .check_crc = true}));
        for (const entry& e : merged) {
            require(next != all.end() && to_uint(e.sequence()) == (*next)->sequence &&
                        std::ranges::equal(e.payload(), (*next)->payload),
                    "merged after {}: sequence {} is out of place", start, to_uint(e.sequence()));
            ++next;
        }
        must(merged.status());
        require(next == all.end(), "merged after {}: {} entries are missing", start, all.end() - next);
    }
}

void modelled_stream::compare_space(const reader& from) const {
    std::uint64_t at = 0, free_bytes = 0, region_bytes = 0, segment_bytes = 0, largest = 0;
    bool was_free = false;
    for (const auto& e : must(from.extents())) {
        require(to_uint(e.begin) == at, "a gap or an overlap at offset {}", at);
        at += e.bytes;
        const bool is_free = e.kind == extent_info::use::free;
        require(!(is_free && was_free), "two free runs side by side at offset {}", to_uint(e.begin));
        was_free = is_free;
        free_bytes += is_free ? e.bytes : 0;
        largest = std::max(largest, is_free ? e.bytes : 0);
        region_bytes += e.kind == extent_info::use::region ? e.bytes : 0;
        segment_bytes += e.kind == extent_info::use::table_segment ? e.bytes : 0;
    }
    const auto info = writer_->info();
    std::uint64_t expected = 0;
    for (const auto& r : regions_)
        expected += r.size_bytes + region_overhead_bytes(r.name);
    require(at == info.stream_bytes, "the extents end at {}", at);
    require(region_bytes == expected, "regions take {} bytes, not {}", region_bytes, expected);
    require(free_bytes == info.free_bytes && largest == info.largest_free_bytes, "info counts free bytes otherwise");
    require(free_bytes + region_bytes + segment_bytes + metadata_bytes_ == info.stream_bytes, "bytes are missing");
    require(info.regions == regions_.size(), "info counts {} regions", info.regions);
}

}  // namespace pmemstream::test
