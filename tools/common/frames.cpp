#include "tools/common/frames.hpp"

#include "tools/common/text.hpp"

#include <fmt/format.h>
#include <pmemstream/types.hpp>

namespace pmemstream::tools {

namespace {

constexpr std::string_view magic = "PMF1";
static_assert(payload_bytes_max == 4294967231, "the format above says so");

void put(std::string& to, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i)
        to += static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t take(std::span<const std::byte> from) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = from.size(); i > 0; --i)
        value = value << 8 | std::to_integer<std::uint64_t>(from[i - 1]);
    return value;
}

std::string head(frame_kind kind, std::string_view name, std::uint32_t body_bytes) {
    std::string frame(magic);
    put(frame, static_cast<std::uint32_t>(kind), 4);
    put(frame, name.size(), 4);
    put(frame, body_bytes, 4);
    return frame.append(name);
}

}  // namespace

std::uint64_t read_u64(std::span<const std::byte> from) noexcept {
    return take(from.first(8));
}

std::string read_frame_header(std::span<const std::byte, frame_header_bytes> from, frame_header& to) {
    if (as_text(from.first(4)) != magic)
        return fmt::format("no frame begins here (\"{}\" instead of \"{}\")", printable(as_text(from.first(4))), magic);
    const std::uint64_t kind = take(from.subspan(4, 4));
    const std::uint64_t name_bytes = take(from.subspan(8, 4));
    const std::uint64_t body_bytes = take(from.subspan(12, 4));
    if (kind < 1 || kind > 5)
        return fmt::format("a frame of unknown kind {}", kind);
    to = {static_cast<frame_kind>(kind), static_cast<std::uint32_t>(name_bytes),
          static_cast<std::uint32_t>(body_bytes)};
    if (name_bytes > (to.kind == frame_kind::stream ? 0 : region_name_bytes_max))
        return fmt::format("a name of {} bytes; it has at most {}", name_bytes,
                           to.kind == frame_kind::stream ? 0 : region_name_bytes_max);
    if (is_entry(to.kind) && body_bytes > payload_bytes_max)
        return fmt::format("an entry of {} bytes; it has at most {}", body_bytes, payload_bytes_max);
    const std::uint64_t fixed = to.kind == frame_kind::stream ? 16 : 8;
    if (!is_entry(to.kind) && body_bytes != fixed)
        return fmt::format("a body of {} bytes in a frame of kind {}, which has {}", body_bytes, kind, fixed);
    return {};
}

std::string check_frame_name(std::string_view name) {
    if (name.find('\0') != std::string_view::npos)
        return "a region name with a zero byte";
    return {};
}

std::string entry_frame_head(frame_region of, std::uint32_t payload_bytes) {
    return head(of.unnamed ? frame_kind::unnamed_entry : frame_kind::entry, of.name, payload_bytes);
}

std::string region_frame(frame_region of, std::uint64_t region_bytes) {
    std::string frame = head(of.unnamed ? frame_kind::unnamed_region : frame_kind::region, of.name, 8);
    put(frame, region_bytes, 8);
    return frame;
}

std::string stream_frame(std::uint64_t stream_bytes, std::uint64_t block_bytes) {
    std::string frame = head(frame_kind::stream, {}, 16);
    put(frame, stream_bytes, 8);
    put(frame, block_bytes, 8);
    return frame;
}

}  // namespace pmemstream::tools
