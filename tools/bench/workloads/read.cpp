#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"
#include "tools/bench/workload.hpp"

#include <fmt/format.h>

namespace bench {

namespace {

using namespace pmemstream;

/// Entries that lie one behind the other.
struct stretch {
    offset begin{};
    std::uint64_t bytes = 0;
};

/// The limit: from header to header, looking at the number and the first byte of each payload. A stream's headers have
/// the payload's size where raw ones have it.
template <bool Crc>
std::uint64_t raw_walk(const std::byte* memory, std::uint64_t bytes) {
    std::uint64_t sum = 0;
    for (std::uint64_t position = 0; position < bytes;) {
        const auto* const header = reinterpret_cast<const raw_header*>(memory + position);
        const auto* const payload = memory + position + sizeof *header;
        if constexpr (Crc) {
            std::uint32_t crc = base::crc32c_extend(~std::uint32_t{0}, payload, header->payload_bytes);
            crc = base::crc32c_extend_u64(crc, header->payload_bytes);
            sum += base::crc32c_extend_u64(crc, header->number);
        }
        sum += header->number + std::to_integer<std::uint64_t>(*payload);
        position += entry_bytes(header->payload_bytes);
    }
    return sum;
}

template <class Cursor>
void walk(Cursor& at, std::uint64_t entries) {
    std::uint64_t sum = 0;
    std::uint64_t seen = 0;
    for (;;) {
        auto got = at.next();
        if (!got)
            throw std::runtime_error(got.error().message());
        if (!*got)
            break;
        sum += to_uint((*got)->sequence()) + std::to_integer<std::uint64_t>((*got)->payload()[0]);
        ++seen;
    }
    keep(sum);
    if (seen != entries)
        throw std::runtime_error(fmt::format("read: a cursor showed {} entries of {}", seen, entries));
}

/// A stream with entries in `regions` regions by turns, closed.
class filled_stream {
public:
    filled_stream(const std::filesystem::path& file, std::uint64_t bytes, unsigned regions, std::uint64_t size)
        : stream_(file, bytes + (std::uint64_t{1} << 20) + regions * std::uint64_t{8192}) {
        const auto to = must(writer::open(file));
        std::vector<region> all;
        for (unsigned i = 0; i < regions; ++i)
            all.push_back(must(to->allocate(bytes / regions, fmt::format("r{}", i))));
        const auto payload = payload_of(size);
        while (to->append(all[entries_ % regions], payload))
            ++entries_;
        for (const region r : all) {
            const auto info = must(to->describe(r));
            stretches_.push_back({info.begin, info.used_bytes});
        }
        must(to->close());
        if (entries_ == 0)
            throw std::runtime_error("read: no entry of that size fits in the region");
    }

    /// ns per entry.
    double by_cursor(const reader& from, bool crc) const {
        const auto begin = clock::now();
        if (stretches_.size() == 1) {
            auto at = must(from.follow(must(from.find("r0")), {.check_crc = crc}));
            walk(at, entries_);
        } else {
            auto at = must(from.follow_all({.check_crc = crc}));
            walk(at, entries_);
        }
        return ns_since(begin) / static_cast<double>(entries_);
    }
    template <bool Crc>
    double by_hand(const raw_mapping& raw) const {
        const auto begin = clock::now();
        for (const auto& [from, bytes] : stretches_)
            keep(raw_walk<Crc>(raw.at(from), bytes));
        return ns_since(begin) / static_cast<double>(entries_);
    }
    [[nodiscard]] const std::filesystem::path& file() const noexcept { return stream_.file(); }

private:
    scratch_stream stream_;
    std::vector<stretch> stretches_;
    std::uint64_t entries_ = 0;
};

row row_of(const char* where, std::uint64_t size, bool crc) {
    return {.workload = "read",
            .variant = fmt::format("{}{}", where, crc ? ", CRC" : ""),
            .payload_bytes = size,
            .unit = "ns/entry",
            .limit = crc ? "a pointer's walk and a CRC32C pass" : "a pointer's walk"};
}

void read_warm(const settings& how, report& into, const char* name, unsigned regions, double goal,
               std::optional<double> goal_crc) {
    for (const std::uint64_t size : how.sizes_or({64})) {
        const filled_stream filled(how.file, how.bytes(std::uint64_t{64} << 20, 2 * regions), regions, size);
        const auto from = must(reader::open(filled.file()));
        const raw_mapping raw(filled.file(), access::read);
        const auto costs = in_turns(
            how.repetitions, {[&] { return filled.by_cursor(from, false); }, [&] { return filled.by_hand<false>(raw); },
                              [&] { return filled.by_cursor(from, true); }, [&] { return filled.by_hand<true>(raw); }});
        for (const bool crc : {false, true}) {
            row r = row_of(name, size, crc);
            r.goal = crc ? goal_crc : goal;
            into.add(summarized(r, costs[crc ? 2 : 0], costs[crc ? 3 : 1]));
        }
    }
}

/// Nothing of the file is in the page cache, and no page of it is mapped.
void read_cold(const settings& how, report& into, const char* name, unsigned regions, double goal,
               std::optional<double> goal_crc) {
    for (const std::uint64_t size : how.sizes_or({64})) {
        const filled_stream filled(how.disk_file, how.bytes(std::uint64_t{32} << 20, 2 * regions), regions, size);
        const auto by_cursor = [&](bool crc) {
            drop_from_cache(filled.file());
            const auto from = must(reader::open(filled.file()));
            return filled.by_cursor(from, crc);
        };
        const auto costs = in_turns(how.repetitions, {[&] { return by_cursor(false); },
                                                      [&] {
                                                          drop_from_cache(filled.file());
                                                          const raw_mapping raw(filled.file(), access::read);
                                                          return filled.by_hand<false>(raw);
                                                      },
                                                      [&] { return by_cursor(true); },
                                                      [&] {
                                                          drop_from_cache(filled.file());
                                                          const raw_mapping raw(filled.file(), access::read);
                                                          return filled.by_hand<true>(raw);
                                                      }});
        for (const bool crc : {false, true}) {
            row r = row_of(name, size, crc);
            r.goal = crc ? goal_crc : goal;
            into.add(summarized(r, costs[crc ? 2 : 0], costs[crc ? 3 : 1]));
        }
    }
}

}  // namespace

void run_read(const settings& how, report& into) {
    pin(how.cpu);
    read_warm(how, into, "warm", 1, 1.3, 1.3);
    read_warm(how, into, "warm, merged over 16", 16, 3, std::nullopt);
    read_cold(how, into, "cold", 1, 1.3, 1.3);
    read_cold(how, into, "cold, merged over 16", 16, 3, std::nullopt);
}

}  // namespace bench
