#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace pmemstream::test {

using image = std::vector<std::byte>;

/// One thing that happened to a mapping, in the order in which the program did it.
struct trace_event {
    enum class kind : std::uint8_t {
        store,  ///< the aligned word at `offset` became `value`; the medium may hear of it from now on
        seen,   ///< it did so some time since the last mark; what the medium heard stands in `write`
        write,  ///< the medium was told the range; the bytes are trace::written from `value` on
        flush,  ///< of the range
        drain,
        sync,  ///< of the range; durable from the next event on
        mark,  ///< from here on state number `value` of the model is the one to expect
    };
    kind what = kind::store;
    std::uint32_t offset = 0;
    std::uint32_t bytes = 0;
    std::uint64_t value = 0;
};

/// All that happened to a file since it held `base`, all of which was durable.
struct trace {
    image base;
    std::vector<trace_event> events;
    std::vector<std::byte> written;
};

/// Memory changed.
[[nodiscard]] inline bool is_store(const trace_event& event) {
    return event.what == trace_event::kind::store || event.what == trace_event::kind::seen;
}
inline void apply_store(image& to, const trace_event& store) {
    std::memcpy(to.data() + store.offset, &store.value, sizeof store.value);
}

[[nodiscard]] inline std::uint64_t word_at(const image& from, std::uint64_t offset) {
    std::uint64_t word = 0;
    std::memcpy(&word, from.data() + offset, sizeof word);
    return word;
}

/// A bijection that spreads every bit.
[[nodiscard]] inline std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/// What the word at an offset adds to the hash of an image: a sum, so that it can be kept up to date word by word.
[[nodiscard]] inline std::uint64_t word_hash(std::uint64_t offset, std::uint64_t word) {
    return mixed(mixed(offset) ^ word);
}
[[nodiscard]] inline std::uint64_t image_hash(const image& of) {
    std::uint64_t sum = 0;
    for (std::uint64_t at = 0; at < of.size(); at += 8)
        sum += word_hash(at, word_at(of, at));
    return sum;
}

}  // namespace pmemstream::test
