#pragma once

#include "tests/support/test_payloads.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace pmemstream::test {

/// Gives every entry, by its number in a series, a size and bytes that no other entry has: so an entry without any byte
/// is checked as well as a long one, by whoever knows which is due.
class entry_plan {
public:
    static constexpr std::size_t bytes_max = 6000;

    explicit constexpr entry_plan(std::uint64_t series, std::size_t usual_max = 200) noexcept
        : series_(mixed(series)), usual_max_(usual_max) {}

    /// From 0 to `usual_max`; one in 256 is longer than a page.
    [[nodiscard]] constexpr std::size_t bytes(std::uint64_t number) const noexcept {
        const std::uint64_t dice = mixed(series_ + number);
        return dice % 256 == 0 ? 4000 + dice / 256 % 2000 : dice / 256 % (usual_max_ + 1);
    }

    void fill(std::span<std::byte> to, std::uint64_t number) const noexcept {
        std::uint64_t state = series_ ^ mixed(number);
        for (std::size_t i = 0; i < to.size(); i += 8) {
            state = mixed(state);
            std::memcpy(to.data() + i, &state, std::min<std::size_t>(8, to.size() - i));
        }
    }

    [[nodiscard]] bool matches(std::span<const std::byte> got, std::uint64_t number) const noexcept {
        return got.size() == bytes(number) && matches_content(got, number);
    }

    /// Whatever the size.
    [[nodiscard]] bool matches_content(std::span<const std::byte> got, std::uint64_t number) const noexcept {
        std::uint64_t state = series_ ^ mixed(number);
        for (std::size_t i = 0; i < got.size(); i += 8) {
            state = mixed(state);
            if (std::memcmp(got.data() + i, &state, std::min<std::size_t>(8, got.size() - i)) != 0)
                return false;
        }
        return true;
    }

private:
    std::uint64_t series_;
    std::size_t usual_max_;
};

/// A place to make one payload at a time.
class payload_buffer {
public:
    [[nodiscard]] std::span<const std::byte> make(const entry_plan& plan, std::uint64_t number) noexcept {
        const std::span<std::byte> payload(bytes_, plan.bytes(number));
        plan.fill(payload, number);
        return payload;
    }

private:
    std::byte bytes_[entry_plan::bytes_max];
};

}  // namespace pmemstream::test
