#include "src/format/system_entry.hpp"

#include <cstring>

namespace pmemstream::format {

namespace {

template <class T>
void put(std::vector<std::byte>& to, const T& value) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
    to.insert(to.end(), bytes, bytes + sizeof value);
}

void put(std::vector<std::byte>& to, std::string_view text) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
    to.insert(to.end(), bytes, bytes + text.size());
}

/// Takes a piece off the front; nothing if there is not so much.
std::optional<std::string> take(std::span<const std::byte>& from, std::size_t bytes) {
    if (bytes > from.size())
        return std::nullopt;
    std::string text(reinterpret_cast<const char*>(from.data()), bytes);
    from = from.subspan(bytes);
    return text;
}

std::uint32_t crc_of(std::span<const std::byte> text) noexcept {
    return base::crc32c(text.data(), text.size());
}

}  // namespace

std::optional<std::uint64_t> head_payload_bytes(const region_head& head) noexcept {
    std::uint64_t bytes = head.name.size();
    for (const auto& attribute : head.attributes) {
        if (attribute.key.size() > std::numeric_limits<std::uint16_t>::max())
            return std::nullopt;
        bytes += sizeof(attribute_header) + attribute.key.size() + attribute.value.size();
    }
    if (bytes > head_text_bytes_max)
        return std::nullopt;
    return sizeof(head_payload) + bytes;
}

std::vector<std::byte> encode_head(const region_head& head) {
    std::vector<std::byte> text;
    put(text, std::string_view(head.name));
    for (const auto& attribute : head.attributes) {
        put(text, attribute_header{.kind = static_cast<std::uint16_t>(attribute.kind),
                                   .key_bytes = static_cast<std::uint16_t>(attribute.key.size()),
                                   .value_bytes = static_cast<std::uint32_t>(attribute.value.size())});
        put(text, std::string_view(attribute.key));
        put(text, std::string_view(attribute.value));
    }
    std::vector<std::byte> payload;
    put(payload, head_payload{.log_id = head.log_id,
                              .predecessor_generation = head.predecessor_generation,
                              .place = head.place,
                              .name_bytes = static_cast<std::uint16_t>(head.name.size()),
                              .attribute_count = static_cast<std::uint16_t>(head.attributes.size()),
                              .attributes_bytes = static_cast<std::uint32_t>(text.size() - head.name.size()),
                              .text_crc = crc_of(text)});
    payload.insert(payload.end(), text.begin(), text.end());
    return payload;
}

std::optional<region_head> decode_head(std::span<const std::byte> payload) {
    head_payload fixed{};
    if (payload.size() < sizeof fixed)
        return std::nullopt;
    std::memcpy(&fixed, payload.data(), sizeof fixed);
    auto text = payload.subspan(sizeof fixed);
    if (text.size() > head_text_bytes_max || text.size() != std::uint64_t{fixed.name_bytes} + fixed.attributes_bytes ||
        fixed.text_crc != crc_of(text))
        return std::nullopt;
    region_head head{.log_id = fixed.log_id,
                     .predecessor_generation = fixed.predecessor_generation,
                     .place = fixed.place,
                     .name = *take(text, fixed.name_bytes),
                     .attributes = {}};
    for (unsigned i = 0; i < fixed.attribute_count; ++i) {
        attribute_header about{};
        const auto raw = take(text, sizeof about);
        if (!raw)
            return std::nullopt;
        std::memcpy(&about, raw->data(), sizeof about);
        auto key = take(text, about.key_bytes);
        auto value = key ? take(text, about.value_bytes) : std::nullopt;
        if (!value)
            return std::nullopt;
        head.attributes.push_back({static_cast<attribute_kind>(about.kind), std::move(*key), std::move(*value)});
    }
    return text.empty() ? std::optional(std::move(head)) : std::nullopt;
}

std::uint64_t head_entry_bytes(const entry_header& first, std::uint64_t room) noexcept {
    constexpr std::uint64_t kind = ~(entry_meta::epoch_bits(0xff) | entry_meta::argument_mask);
    const bool is_head = (first.meta & kind) == entry_meta::system(system_type::head);
    const std::uint64_t bytes = entry_bytes(first.payload_bytes);
    return is_head && bytes <= room ? bytes : 0;
}

std::optional<mark_payload> decode_mark(std::span<const std::byte> payload) noexcept {
    mark_payload mark{};
    if (payload.size() != sizeof mark)
        return std::nullopt;
    std::memcpy(&mark, payload.data(), sizeof mark);
    if (mark.index > sequence_max || mark.sequence == 0 || mark.sequence > sequence_max + 1 || mark.epoch > epoch_max)
        return std::nullopt;
    return mark;
}

}  // namespace pmemstream::format
