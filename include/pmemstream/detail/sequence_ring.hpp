#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

namespace pmemstream::detail {

struct step_state;

/// Which source holds which sequence next, for a merge of sources that hold one each. Sequences of a stream leave few
/// gaps, so a merge asks for one after the other: each has its place in a ring as wide as a few times the sources, and
/// is found without a look at any other. One that lies too far ahead for the ring is left out until it is near
/// (beyond()), and all are put again then: once per width of the ring at most. So an entry takes as many steps
/// however many sources there are; what grows with them is the memory that is walked.
/// Not for users. Thread safety: none.
class sequence_ring {
public:
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

    /// Makes room for so many sources. To be followed by start_at().
    void resize(std::size_t sources) {
        const std::size_t places = std::bit_ceil(sources * 4 + 64);
        places_ = std::make_unique<place[]>(places);
        mask_ = places - 1;
    }

    /// Forgets who held what. The least sequence that may be put, and found, from now on is `sequence`.
    void start_at(std::uint64_t sequence) noexcept {
        std::fill_n(places_.get(), mask_ + 1, place{});
        next_ = sequence;
        beyond_ = never;
    }

    /// The least sequence that may still be found.
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
    /// Nothing before `sequence` (not less than next()) will be asked for any more.
    void pass_to(std::uint64_t sequence) noexcept { next_ = sequence; }

    /// Who holds exactly `sequence`; null where nobody does, or where it was left out.
    [[nodiscard, gnu::always_inline]] step_state* at(std::uint64_t sequence) const noexcept {
        const place& here = places_.get()[sequence & mask_];
        return here.sequence == sequence ? here.source : nullptr;
    }

    /// `source` holds `sequence`, which is not less than next(). False, and nothing done, if another one holds it.
    [[nodiscard, gnu::always_inline]] bool put(std::uint64_t sequence, step_state* source) noexcept {
        if (sequence - next_ > mask_) [[unlikely]] {
            if (sequence < beyond_)
                beyond_ = sequence;
            return true;
        }
        if (sequence == beyond_) [[unlikely]]
            return false;  // whose has come near meanwhile
        place& here = places_.get()[sequence & mask_];
        if (here.sequence == sequence && here.source != source) [[unlikely]]
            return false;
        here = {sequence, source};
        return true;
    }

    /// Who holds the least sequence of all. Null, if that is one that was left out, or if there is none.
    [[nodiscard]] step_state* first() const noexcept {
        for (std::uint64_t i = 0; i <= mask_ && next_ + i < beyond_; ++i)
            if (step_state* const found = at(next_ + i); found != nullptr)
                return found;
        return nullptr;
    }

    /// The least sequence that was left out, or never.
    [[nodiscard]] std::uint64_t beyond() const noexcept { return beyond_; }

private:
    struct place {
        std::uint64_t sequence = 0;  // no entry's
        step_state* source = nullptr;
    };

    std::unique_ptr<place[]> places_;  // not a vector, whose debugging version has another size
    std::uint64_t mask_ = 0;
    std::uint64_t next_ = 1;
    std::uint64_t beyond_ = never;
};

}  // namespace pmemstream::detail
