// What an append spends its time on: a loop by hand that does one thing more than the one before, up to all that append()
// does, and append() itself.
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/beside_raw.hpp"

#include <fmt/format.h>
#include <array>
#include <cstring>

namespace bench {

namespace {

using namespace pmemstream;

enum class upto : std::uint8_t { copy, header, crc, commit, claim, doorbell };

/// What lies in memory between two appends, and is read again by the next.
struct kept {
    std::uint64_t position = 0;
    std::uint64_t number = 1;
    std::uint64_t limit = 0;
    std::uint64_t state = 1;
    std::uint64_t committed = 0;  // the stream's
    std::uint32_t fault_state = 0;
    std::uint32_t stream_flag = 0;
    alignas(64) std::uint32_t region_flag = 0;
};

template <upto Step>
double spend(const raw_log& to, kept& state, std::span<const std::byte> payload, std::uint64_t entries) {
    namespace base = pmemstream::base;
    constexpr auto does = [](upto what) { return Step >= what; };
    state.position = 0;
    state.number = 1;
    const std::uint64_t bytes = entry_bytes(payload.size());
    const auto begin = clock::now();
    for (std::uint64_t i = 0, own_position = 0; i < entries; ++i, own_position += bytes) {
        std::uint64_t position = own_position;
        std::uint64_t number = i + 1;
        if constexpr (does(upto::claim)) {
            // One by one, as behind a pointer that anybody may have.
            position = __atomic_load_n(&state.position, __ATOMIC_RELAXED);
            number = __atomic_load_n(&state.number, __ATOMIC_RELAXED);
            if (state.state != 1 || position + bytes > state.limit) [[unlikely]]
                throw std::runtime_error("append: the log by hand is full");
        }
        std::byte* const entry = to.entries + position;
        std::uint32_t crc = 0;
        if constexpr (does(upto::crc)) {
            crc = base::crc32c_copy(~std::uint32_t{0}, entry + sizeof(raw_header), payload.data(), payload.size());
            crc = base::crc32c_extend_u64(crc, payload.size());
            crc = base::crc32c_extend_u64(crc, number);
            crc = ~base::crc32c_extend_u64(crc, position);
        } else {
            std::memcpy(entry + sizeof(raw_header), payload.data(), payload.size());
        }
        if constexpr (does(upto::header)) {
            const raw_header header{static_cast<std::uint32_t>(payload.size()), crc, number};
            std::memcpy(entry, &header, sizeof header);
        }
        if constexpr (does(upto::commit)) {
            __atomic_store_n(&to.commit_offset[1], number, __ATOMIC_RELAXED);
            __atomic_store_n(&to.commit_offset[0], position + bytes, __ATOMIC_RELEASE);
            __atomic_store_n(&state.committed, number, __ATOMIC_RELEASE);
        }
        if constexpr (does(upto::claim)) {
            __atomic_store_n(&state.position, position + bytes, __ATOMIC_RELAXED);
            __atomic_store_n(&state.number, number + 1, __ATOMIC_RELAXED);
        }
        if constexpr (does(upto::doorbell))
            if ((__atomic_load_n(&state.fault_state, __ATOMIC_RELAXED) |
                 __atomic_load_n(&state.stream_flag, __ATOMIC_RELAXED) |
                 __atomic_load_n(&state.region_flag, __ATOMIC_RELAXED)) != 0) [[unlikely]]
                throw std::runtime_error("append: somebody sleeps by the log by hand");
    }
    return ns_since(begin) / static_cast<double>(entries);
}

}  // namespace

void run_append_budget(const settings& how, report& into) {
    const std::uint64_t size = how.sizes.empty() ? 64 : how.sizes.front();
    beside_raw both(how);
    const std::uint64_t entries = both.entries(size);
    kept state;
    state.limit = both.region_bytes();
    const aligned_payload payload(size);
    const auto by_hand = [&](auto spend_upto) {
        return [&, spend_upto] { return spend_upto(both.raw(), state, payload.bytes(), entries); };
    };
    struct part {
        const char* name;
        turn measured;
    };
    const std::array parts{part{"copy", by_hand(spend<upto::copy>)},
                           part{"header", by_hand(spend<upto::header>)},
                           part{"CRC32C of both", by_hand(spend<upto::crc>)},
                           part{"commit", by_hand(spend<upto::commit>)},
                           part{"claim", by_hand(spend<upto::claim>)},
                           part{"doorbell check", by_hand(spend<upto::doorbell>)},
                           part{"append()", [&] { return both.append(payload.bytes(), entries); }}};
    std::vector<turn> turns;
    for (const auto& p : parts)
        turns.push_back(p.measured);
    const auto costs = in_turns(how.repetitions, turns);
    for (std::size_t i = 1; i < parts.size(); ++i) {
        row r{.workload = "append",
              .variant = fmt::format("budget, up to {}", parts[i].name),
              .payload_bytes = size,
              .unit = "ns/entry",
              .limit = fmt::format("up to {}", parts[i - 1].name)};
        into.add(summarized(r, costs[i], costs[i - 1]));
    }
}

}  // namespace bench
