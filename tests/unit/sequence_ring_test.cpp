#include <pmemstream/detail/sequence_ring.hpp>
#include <pmemstream/detail/step.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace {

using pmemstream::detail::sequence_ring;
using pmemstream::detail::step_state;

/// As a merged cursor uses a ring: each source holds the first of what it has left, and the least of all comes next.
class merge {
public:
    explicit merge(std::vector<std::vector<std::uint64_t>> sources)
        : left_(std::move(sources)), at_(left_.size(), 0), states_(left_.size()) {
        ring_.resize(left_.size());
        gather(1);
    }

    [[nodiscard]] std::optional<std::uint64_t> next() {
        step_state* holder = ring_.first();
        if (holder == nullptr && ring_.beyond() != sequence_ring::never) {
            gather(ring_.beyond());
            holder = ring_.first();
        }
        if (holder == nullptr)
            return std::nullopt;
        const auto from = static_cast<std::size_t>(holder - states_.data());
        const std::uint64_t found = left_[from][at_[from]++];
        ring_.pass_to(found + 1);
        if (at_[from] < left_[from].size())
            REQUIRE(ring_.put(left_[from][at_[from]], holder));
        return found;
    }
    [[nodiscard]] unsigned gathered() const noexcept { return gathered_; }

private:
    void gather(std::uint64_t sequence) {
        ++gathered_;
        ring_.start_at(sequence);
        for (std::size_t i = 0; i < left_.size(); ++i)
            if (at_[i] < left_[i].size())
                REQUIRE(ring_.put(left_[i][at_[i]], &states_[i]));
    }

    std::vector<std::vector<std::uint64_t>> left_;
    std::vector<std::size_t> at_;
    std::vector<step_state> states_;  // only their addresses count
    sequence_ring ring_;
    unsigned gathered_ = 0;
};

/// Sequences 1 to `newest` dealt out in runs of up to `run_max`; of every hundred, `missing` are nobody's.
std::vector<std::vector<std::uint64_t>> dealt(std::size_t sources, std::uint64_t newest, unsigned run_max,
                                              unsigned missing) {
    std::mt19937 random(static_cast<unsigned>(sources * 1000 + run_max + missing));
    std::vector<std::vector<std::uint64_t>> all(sources);
    for (std::uint64_t now = 1; now <= newest;) {
        const std::uint64_t until = std::min<std::uint64_t>(newest, now + random() % run_max);
        const bool is_missing = random() % 100 < missing;
        for (const std::size_t to = random() % sources; now <= until; ++now)
            if (!is_missing)
                all[to].push_back(now);
    }
    return all;
}

TEST_CASE("the least sequence comes next, with one source or hundreds, whatever lies between two of a source") {
    for (const std::size_t sources : {1, 2, 15, 16, 17, 64, 65, 500})
        for (const unsigned run_max : {1U, 10U, 5000U})
            for (const unsigned missing : {0U, 50U, 99U}) {
                const auto all = dealt(sources, 20'000, run_max, missing);
                std::vector<std::uint64_t> expected;
                for (const auto& each : all)
                    expected.insert(expected.end(), each.begin(), each.end());
                std::sort(expected.begin(), expected.end());
                merge from(all);
                std::vector<std::uint64_t> seen;
                while (const auto found = from.next())
                    seen.push_back(*found);
                CHECK(seen == expected);
            }
}

TEST_CASE("all sequences are put again at most once for every width of the ring") {
    // Of two sources one comes only at the end, far beyond the ring again and again.
    std::vector<std::vector<std::uint64_t>> all(2);
    for (std::uint64_t now = 1; now <= 100'000; ++now)
        all[now % 1000 == 0 ? 1 : 0].push_back(now);
    merge from(all);
    while (from.next()) {
    }
    CHECK(from.gathered() <= 1 + 100'000 / 64);
}

struct two_sources {
    std::array<step_state, 2> sources;  // only their addresses count
    sequence_ring ring;

    two_sources() {
        ring.resize(2);
        ring.start_at(1);
    }
};

TEST_CASE("a sequence that another source holds is not put, one's own may be put again") {
    two_sources both;
    auto& [sources, ring] = both;
    CHECK(ring.put(5, &sources[0]));
    CHECK_FALSE(ring.put(5, &sources[1]));
    CHECK(ring.put(5, &sources[0]));
    CHECK(ring.at(5) == &sources[0]);
    CHECK(ring.first() == &sources[0]);
}

TEST_CASE("what was put is forgotten at a new start, and a sequence of an earlier turn is not found") {
    std::array<step_state, 2> sources;
    sequence_ring ring;
    ring.resize(1);
    ring.start_at(1);
    CHECK(ring.put(7, &sources[0]));
    ring.start_at(1);
    CHECK(ring.at(7) == nullptr);
    CHECK(ring.first() == nullptr);
    CHECK(ring.put(7, &sources[0]));
    for (std::uint64_t width = 64; width <= 1024; width *= 2)
        CHECK(ring.at(7 + width) == nullptr);
}

TEST_CASE("the least of those that lie too far ahead is known, and is not passed by one that lies nearer later") {
    two_sources both;
    auto& [sources, ring] = both;
    CHECK(ring.put(100'000, &sources[0]));
    CHECK(ring.put(1'000'000, &sources[1]));
    CHECK(ring.first() == nullptr);
    CHECK(ring.beyond() == 100'000);
    ring.pass_to(99'999);
    CHECK(ring.put(100'001, &sources[1]));
    CHECK(ring.first() == nullptr);
    CHECK(ring.beyond() == 100'000);
}

TEST_CASE("one that lies too far ahead is another source's when it has come near") {
    two_sources both;
    auto& [sources, ring] = both;
    CHECK(ring.put(100'000, &sources[0]));
    ring.pass_to(99'999);
    CHECK_FALSE(ring.put(100'000, &sources[1]));
    CHECK(ring.put(99'999, &sources[1]));
    ring.start_at(100'000);
    CHECK(ring.put(100'000, &sources[0]));
    CHECK_FALSE(ring.put(100'000, &sources[1]));
}

}  // namespace
