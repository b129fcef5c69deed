#include "tools/bench/measure.hpp"
#include "tools/bench/streams.hpp"

#include <fmt/format.h>
#include <cstring>

namespace bench {

namespace {

using namespace pmemstream;

/// The limit: header, payload, and the commit offset with release order; no CRC, no checks, nobody to wake.
double raw_appends(std::byte* memory, std::uint64_t* commit_offset, std::span<const std::byte> payload,
                   std::uint64_t entries) {
    const std::uint64_t step = entry_bytes(payload.size());
    std::uint64_t position = 0;
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < entries; ++i) {
        const raw_header header{static_cast<std::uint32_t>(payload.size()), 0, i + 1};
        std::memcpy(memory + position, &header, sizeof header);
        std::memcpy(memory + position + sizeof header, payload.data(), payload.size());
        position += step;
        __atomic_store_n(commit_offset, position, __ATOMIC_RELEASE);
    }
    const std::chrono::duration<double, std::nano> took = clock::now() - begin;
    return took.count() / static_cast<double>(entries);
}

double stream_appends(writer& to, region& where, std::span<const std::byte> payload, std::uint64_t entries) {
    where = must(to.clear(where));
    const region target = where;
    const auto begin = clock::now();
    for (std::uint64_t i = 0; i < entries; ++i)
        if (auto got = to.append(target, payload); !got)
            throw std::runtime_error(got.error().message());
    const std::chrono::duration<double, std::nano> took = clock::now() - begin;
    return took.count() / static_cast<double>(entries);
}

}  // namespace

std::vector<row> run_append(const settings& how) {
    pin(how.cpu);
    // Larger than the caches, so that both go through memory as a log does; touched by the turn that does not count.
    constexpr std::uint64_t region_bytes = std::uint64_t{96} << 20;
    const scratch_stream stream(how.file, 2 * region_bytes + (std::uint64_t{1} << 20));
    const auto to = must(writer::open(stream.file()));
    auto where = must(to->allocate(region_bytes - 4096, "measured"));
    const auto beside = must(to->describe(must(to->allocate(region_bytes - 4096, "limit"))));
    const raw_mapping raw(stream.file(), true);
    // The limit's commit offset has a line of its own in the mapping too.
    auto* const commit_offset = reinterpret_cast<std::uint64_t*>(raw.at(beside.begin));
    std::byte* const memory = raw.at(beside.begin) + 128;

    std::vector<row> rows;
    for (const std::uint64_t size : how.sizes) {
        const std::uint64_t entries = (beside.size_bytes - 128) / entry_bytes(size);
        std::vector<std::byte> payload(size, std::byte{0x5a});
        // So that the limit's copy is of a size known at run time only, like the library's.
        __asm__ volatile("" : : "r"(payload.data()) : "memory");
        row r{.workload = "append", .variant = "committed, touched", .payload_bytes = size, .unit = "ns/entry"};
        r.goal = size <= 256 ? 1.5 : 2.0;
        measure_pairs(
            r, how.repetitions, [&] { return stream_appends(*to, where, payload, entries); },
            [&] { return raw_appends(memory, commit_offset, payload, entries); });
        rows.push_back(r);
    }
    return rows;
}

}  // namespace bench
