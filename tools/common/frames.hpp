#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// Entries as bytes in a pipe or file: what `pmemstream-inspect dump --format frames` writes and
// `pmemstream-write --frames` reads. Frames follow one another without anything between; any concatenation of frames is
// well-formed. Numbers are little-endian.
//
//   offset  bytes  field
//   0       4      magic "PMF1"
//   4       4      kind: 1 entry, 2 region, 3 stream, 4 entry of an unnamed region, 5 unnamed region
//   8       4      name bytes: at most 63
//   12      4      body bytes: entry at most 4294967231, region 8, stream 16
//   16      …      name (of the region; no NUL; empty: the region that --region names; empty for a stream). In the
//                  kinds 4 and 5 a label instead, which stands for the same unnamed region throughout the input and is
//                  no name: a region may well be called like it
//   …       …      body
//
//   entry   the payload
//   region  u64: bytes of the region, for whoever must make it; comes before its entries, if at all. An unnamed one is
//           always made: nothing says which of those that are there it could be
//   stream  u64: bytes of the stream, u64: bytes of a block, for whoever must create it; comes first, if at all
namespace pmemstream::tools {

enum class frame_kind : std::uint32_t { entry = 1, region = 2, stream = 3, unnamed_entry = 4, unnamed_region = 5 };

[[nodiscard]] constexpr bool is_entry(frame_kind kind) noexcept {
    return kind == frame_kind::entry || kind == frame_kind::unnamed_entry;
}
[[nodiscard]] constexpr bool is_unnamed(frame_kind kind) noexcept {
    return kind == frame_kind::unnamed_entry || kind == frame_kind::unnamed_region;
}

/// Whose a frame is: the region's name, or a label where it has none.
struct frame_region {
    std::string_view name;
    bool unnamed = false;
};

inline constexpr std::size_t frame_header_bytes = 16;

struct frame_header {
    frame_kind kind = frame_kind::entry;
    std::uint32_t name_bytes = 0;
    std::uint32_t body_bytes = 0;
};

/// What is wrong with the header, or an empty text and the header in `to`.
[[nodiscard]] std::string read_frame_header(std::span<const std::byte, frame_header_bytes> from, frame_header& to);
/// What is wrong with the name, or an empty text.
[[nodiscard]] std::string check_frame_name(std::string_view name);

/// Everything of an entry's frame but its payload, which follows.
[[nodiscard]] std::string entry_frame_head(frame_region of, std::uint32_t payload_bytes);
[[nodiscard]] std::string region_frame(frame_region of, std::uint64_t region_bytes);
[[nodiscard]] std::string stream_frame(std::uint64_t stream_bytes, std::uint64_t block_bytes);

[[nodiscard]] std::uint64_t read_u64(std::span<const std::byte> from) noexcept;

}  // namespace pmemstream::tools
