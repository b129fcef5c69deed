#include "tools/bench/measure.hpp"
#include "tools/bench/streams.hpp"

namespace bench {

namespace {

using namespace pmemstream;

/// The limit: from header to header, looking at the number and the first byte of each payload.
double raw_walk(const std::byte* memory, std::uint64_t bytes, std::uint64_t entries) {
    std::uint64_t sum = 0;
    std::uint64_t position = 0;
    const auto begin = clock::now();
    while (position < bytes) {
        const auto* const header = reinterpret_cast<const raw_header*>(memory + position);
        sum += header->number + std::to_integer<std::uint64_t>(memory[position + sizeof *header]);
        position += entry_bytes(header->payload_bytes);
    }
    keep(sum);
    const std::chrono::duration<double, std::nano> took = clock::now() - begin;
    return took.count() / static_cast<double>(entries);
}

double cursor_walk(const reader& from, region where, bool check_crc, std::uint64_t entries) {
    auto at = must(from.follow(where, {.check_crc = check_crc}));
    std::uint64_t sum = 0;
    std::uint64_t seen = 0;
    const auto begin = clock::now();
    for (;;) {
        auto got = at.next();
        if (!got)
            throw std::runtime_error(got.error().message());
        if (!*got)
            break;
        sum += to_uint((*got)->timestamp()) + std::to_integer<std::uint64_t>((*got)->payload()[0]);
        ++seen;
    }
    keep(sum);
    const std::chrono::duration<double, std::nano> took = clock::now() - begin;
    if (seen != entries)
        throw std::runtime_error("a cursor missed entries");
    return took.count() / static_cast<double>(entries);
}

}  // namespace

std::vector<row> run_read(const settings& how) {
    pin(how.cpu);
    constexpr std::uint64_t region_bytes = std::uint64_t{96} << 20;
    std::vector<row> rows;
    for (const std::uint64_t size : how.sizes) {
        const scratch_stream stream(how.file, region_bytes + (std::uint64_t{1} << 20));
        const auto to = must(writer::open(stream.file()));
        const auto where = must(to->allocate(region_bytes - 4096, "measured"));
        const std::vector<std::byte> payload(std::max<std::uint64_t>(size, 1), std::byte{0x5a});
        std::uint64_t entries = 0;
        while (to->append(where, payload))
            ++entries;
        const auto info = must(to->describe(where));
        const auto from = must(reader::open(stream.file()));
        const raw_mapping raw(stream.file(), false);
        for (const bool check_crc : {false, true}) {
            row r{.workload = "read",
                  .variant = check_crc ? "cursor, CRC checked" : "cursor",
                  .payload_bytes = size,
                  .unit = "ns/entry"};
            r.goal = check_crc || size != 64 ? 0 : 1.5;
            measure_pairs(
                r, how.repetitions, [&] { return cursor_walk(from, where, check_crc, entries); },
                [&] { return raw_walk(raw.at(info.begin), info.used_bytes, entries); });
            rows.push_back(r);
        }
    }
    return rows;
}

}  // namespace bench
