#pragma once

#include "tools/bench/companion.hpp"
#include "tools/bench/settings.hpp"
#include "tools/bench/streams.hpp"

#include <chrono>
#include <cstdint>

namespace bench {

/// A process that appends and this one, which follows: through a stream, and by hand. Also what peers are held against
/// that deliver entries to another process.
class stream_pair {
public:
    /// `bytes`: what goes through in a turn, headers included.
    stream_pair(const settings& how, std::uint64_t bytes);

    /// ns per entry at this, the reading, side.
    [[nodiscard]] double by_stream(std::uint64_t payload_bytes,
                                   std::chrono::nanoseconds coalesce = pmemstream::cursor_options().coalesce);
    [[nodiscard]] double by_hand(std::uint64_t payload_bytes);

private:
    [[nodiscard]] std::uint64_t entries(std::uint64_t payload_bytes) const;
    void ask(std::uint64_t what, std::uint64_t payload_bytes);

    std::uint64_t bytes_;
    scratch_stream stream_;
    scratch_file beside_;
    companion writer_;
    pmemstream::reader from_;
    raw_mapping raw_;
};

}  // namespace bench
