#pragma once

#include "tests/support/entry_plan.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"

#include <pmemstream/pmemstream.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

// A writer whose blocks change hands all the time, and readers that check what they take for entries.
namespace pmemstream::test {

/// Every generation of every region has a series of its own.
inline entry_plan plan_of(region where) {
    return entry_plan(where.generation(), 150);
}

/// An entry that is kept for a while before it is looked at: by then its blocks may be another's.
struct kept_entry {
    entry e;
    std::uint64_t number;
};

/// What one reader found.
struct reuse_counts {
    std::atomic<std::uint64_t> right{0};    // valid, and what they must be
    std::atomic<std::uint64_t> invalid{0};  // not valid any more when used
    std::atomic<std::uint64_t> gone{0};     // times a region was gone
};

class reuse_checker {
public:
    explicit reuse_checker(reuse_counts& counts) : counts_(counts) {}

    void keep(const entry& e, std::uint64_t number) {
        look_at(e, number);
        kept_.push_back({e, number});
        if (kept_.size() > 64) {
            look_at(kept_.front().e, kept_.front().number);
            copy(kept_.front().e, kept_.front().number);
            kept_.pop_front();
        }
    }

    void told(const error& why) {
        demand(why.code() == errc::region_gone, "nothing but region_gone: " + why.message());
        ++counts_.gone;
    }

private:
    void look_at(const entry& e, std::uint64_t number) {
        // The bytes first; whether they were the entry's is known only afterwards.
        const bool right = plan_of(e.where()).matches(e.payload(), number);
        count(e.valid(), right, e);
    }
    void copy(const entry& e, std::uint64_t number) {
        const auto copied = e.read_into(copy_);
        if (!copied)
            told(copied.error());
        else
            count(true, plan_of(e.where()).matches(copy_, number), e);
    }
    void count(bool valid, bool right, const entry& e) {
        demand(right || !valid, "wrong bytes pass for the entry at offset " + std::to_string(to_uint(e.offset())));
        ++(valid ? counts_.right : counts_.invalid);
    }

    reuse_counts& counts_;
    std::deque<kept_entry> kept_;
    std::vector<std::byte> copy_;
};

/// Follows one region after the other, as long as it lives or holds anything new, until `end`.
inline void follow_regions(const reader& from, const std::atomic<bool>& end, reuse_counts& counts, std::uint64_t seed,
                           cursor_options options) {
    std::mt19937_64 random(seed);
    reuse_checker check(counts);
    options.sleep_max = std::chrono::milliseconds(1);
    while (!end) {
        const auto regions = must(from.regions());
        if (regions.empty())
            continue;
        const auto where = regions[random() % regions.size()].handle;
        auto cursor = from.follow(where, options);
        if (!cursor) {
            check.told(cursor.error());
            continue;
        }
        for (std::uint64_t number = 0; !end; ++number) {
            const auto got = cursor->wait(std::chrono::milliseconds(2));
            if (!got)
                check.told(got.error());
            if (!got || !*got)
                break;
            check.keep(**got, number);
        }
        // What else is asked for meanwhile never fails either.
        (void)must(from.extents());
        (void)from.info();
        const auto described = from.describe(where);
        if (!described)
            check.told(described.error());
    }
}

/// Follows the whole stream until `end`.
inline void follow_stream(const reader& from, const std::atomic<bool>& end, reuse_counts& counts) {
    reuse_checker check(counts);
    auto cursor = must(from.follow_all());
    std::vector<std::pair<region, std::uint64_t>> numbers;
    sequence last = sequence::none;
    while (!end) {
        const auto got = cursor.wait(std::chrono::milliseconds(2));
        if (!got) {
            check.told(got.error());
            continue;
        }
        if (!*got)
            continue;
        const auto& e = **got;
        demand(e.sequence() > last, "sequences increase over all regions");
        last = e.sequence();
        auto known = std::find_if(numbers.begin(), numbers.end(), [&](const auto& n) { return n.first == e.where(); });
        if (known == numbers.end()) {
            // Of a slot's generations only the newest matters.
            std::erase_if(numbers, [&](const auto& n) { return n.first.index() == e.where().index(); });
            known = numbers.insert(numbers.end(), {e.where(), 0});
        }
        check.keep(e, known->second++);
    }
}

/// Allocates, frees, clears and fills regions of all sizes in a stream that is small, so that blocks are reused soon.
class region_churner {
public:
    region_churner(writer& w, std::uint64_t seed) : w_(w), random_(seed) {}

    void step() {
        switch (random_() % 10) {
            case 0:
                allocate();
                break;
            case 1:
                drop();
                break;
            case 2:
                clear();
                break;
            default:
                append();
                break;
        }
    }
    std::uint64_t appended = 0, dropped = 0;

private:
    struct live {
        region where;
        std::uint64_t next = 0;
    };

    void allocate() {
        const auto got = w_.allocate(500 + random_() % 20'000);
        if (got)
            regions_.push_back({*got});
        else
            drop();
    }
    void drop() {
        if (regions_.empty())
            return;
        const auto i = random_() % regions_.size();
        must(w_.free(regions_[i].where, true));
        regions_.erase(regions_.begin() + static_cast<std::ptrdiff_t>(i));
        ++dropped;
    }
    void clear() {
        if (regions_.empty())
            return;
        auto& r = regions_[random_() % regions_.size()];
        r = {must(w_.clear(r.where, true))};
        ++dropped;
    }
    void append() {
        if (regions_.empty())
            return allocate();
        auto& r = regions_[random_() % regions_.size()];
        for (auto n = random_() % 40; n > 0; --n) {
            const auto got = w_.append(r.where, buffer_.make(plan_of(r.where), r.next));
            if (!got) {
                demand(got.error().code() == errc::region_full, got.error().message());
                return clear();
            }
            ++r.next;
            ++appended;
        }
    }

    writer& w_;
    std::mt19937_64 random_;
    std::vector<live> regions_;
    payload_buffer buffer_;
};

}  // namespace pmemstream::test
