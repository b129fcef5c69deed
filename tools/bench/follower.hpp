#pragma once

#include "tools/bench/companion.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/streams.hpp"

#include <chrono>
#include <cstdint>
#include <span>

namespace bench {

/// A cursor that spins, as a user's loop would.
class follower {
public:
    follower(const pmemstream::reader& from, pmemstream::region where,
             std::chrono::nanoseconds coalesce = pmemstream::cursor_options().coalesce)
        : at_(must(
              from.follow(where, {.spin = pmemstream::spin_for_ever, .coalesce = coalesce, .registered = false}))) {}

    [[nodiscard]] std::span<const std::byte> await() {
        auto got = at_.wait();
        if (!got || !*got) [[unlikely]]
            throw std::runtime_error(got ? "a cursor gave up waiting" : got.error().message());
        return (*got)->payload();
    }

private:
    pmemstream::cursor at_;
};

/// Handles of regions, told from one process to the other.
inline void tell(std::uint64_t* words, pmemstream::region what) noexcept {
    words[0] = what.index();
    words[1] = what.generation();
}
[[nodiscard]] inline pmemstream::region told(const std::uint64_t* words) noexcept {
    return {static_cast<std::uint32_t>(words[0]), words[1]};
}

/// Appends, or throws.
inline void append_to(pmemstream::writer& to, pmemstream::region where, std::span<const std::byte> payload) {
    if (auto got = to.append(where, payload); !got) [[unlikely]]
        throw std::runtime_error(got.error().message());
}

/// So many of the same; ns per entry.
inline double append_many(pmemstream::writer& to, pmemstream::region where, std::span<const std::byte> payload,
                          std::uint64_t entries) {
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < entries; ++i)
        append_to(to, where, payload);
    return ns_since(begin) / static_cast<double>(entries);
}

}  // namespace bench
