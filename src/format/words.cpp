#include "src/format/words.hpp"

#include "src/base/crc32c.hpp"

namespace pmemstream::format {

namespace {

std::uint32_t crc_of(std::uint64_t value) noexcept {
    return ~base::crc32c_extend_u64(~std::uint32_t{0}, value);
}

/// A value of 32 bits with all of its CRC.
std::uint64_t word_of(std::uint64_t value) noexcept {
    return value == 0 ? 0 : value | std::uint64_t{crc_of(value)} << 32;
}

/// The value in the low bits of a word, if the word is what `make` makes of it.
template <class Make>
std::optional<std::uint64_t> value_in(std::uint64_t word, unsigned bits, const Make& make) noexcept {
    const std::uint64_t value = word & ((std::uint64_t{1} << bits) - 1);
    return make(value) == word ? std::optional(value) : std::nullopt;
}

constexpr unsigned size_bits = 48;
constexpr unsigned index_bits = 52;

}  // namespace

std::uint64_t epoch_word(std::uint64_t epoch) noexcept {
    return word_of(epoch);
}

std::uint64_t feature_word(std::uint32_t flags) noexcept {
    return word_of(flags);
}

std::optional<std::uint32_t> features_of(std::uint64_t word) noexcept {
    const auto flags = value_in(word, 32, word_of);
    return flags ? std::optional(static_cast<std::uint32_t>(*flags)) : std::nullopt;
}

std::uint64_t size_word(std::uint64_t stream_bytes) noexcept {
    return stream_bytes | std::uint64_t{crc_of(stream_bytes)} << size_bits;
}

std::optional<std::uint64_t> stream_bytes_of(std::uint64_t word) noexcept {
    return value_in(word, size_bits, size_word);
}

std::uint64_t index_word(std::uint64_t index) noexcept {
    return index | std::uint64_t{crc_of(index)} << index_bits;
}

std::optional<std::uint64_t> index_of(std::uint64_t word) noexcept {
    return value_in(word, index_bits, index_word);
}

}  // namespace pmemstream::format
