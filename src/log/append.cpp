#include "src/base/checked.hpp"
#include "src/base/crc32c.hpp"
#include "src/base/failure.hpp"
#include "src/base/kill_point.hpp"
#include "src/base/mapped.hpp"
#include "src/format/entry.hpp"
#include "src/log/writer_impl.hpp"

#include <algorithm>
#include <cstring>

// The hot path: nothing here allocates or makes a system call unless it fails, or a reader sleeps.
namespace pmemstream {

using base::failure;
using base::store_relaxed;
using base::store_release;
using format::entry_meta;

namespace {

// How an entry's CRC is computed. The register travels in 64 bits, as the instruction leaves it.

/// Any payload, on any processor.
struct any_crc {
    static std::uint64_t copy(std::uint64_t state, std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
        return base::crc32c_copy(static_cast<std::uint32_t>(state), to, from, bytes);
    }
    static std::uint64_t extend_u64(std::uint64_t state, std::uint64_t value) noexcept {
        return base::crc32c_extend_u64(static_cast<std::uint32_t>(state), value);
    }
};

/// Inline, for payloads for which one chain of the instruction is as good as anything.
struct short_crc {
#if defined(__x86_64__)
    static bool good_for(std::size_t bytes) noexcept {
        return bytes < 128 && base::detail::crc32c_chain_below.load(std::memory_order_relaxed) != 0;
    }
    [[gnu::always_inline]] static std::uint64_t copy(std::uint64_t state, std::byte* to, const std::byte* from,
                                                     std::size_t bytes) noexcept {
        return base::detail::crc32c_chain<true>(static_cast<std::uint32_t>(state), to, from, bytes);
    }
    [[gnu::always_inline]] static std::uint64_t extend_u64(std::uint64_t state, std::uint64_t value) noexcept {
        return base::detail::crc32_step(state, value);
    }
#else
    static bool good_for(std::size_t) noexcept {
        return false;
    }
    static std::uint64_t copy(std::uint64_t, std::byte*, const std::byte*, std::size_t) noexcept {
        return 0;
    }
    static std::uint64_t extend_u64(std::uint64_t, std::uint64_t) noexcept {
        return 0;
    }
#endif
};

/// `crc`: the register after the payload. See format::entry_crc().
template <class Crc>
[[gnu::always_inline]] inline void write_header(std::byte* to, std::uint32_t payload_bytes, std::uint64_t crc,
                                                std::uint64_t meta, std::uint64_t offset) noexcept {
    auto& header = *reinterpret_cast<format::entry_header*>(to);
    crc = Crc::extend_u64(crc, payload_bytes);
    crc = Crc::extend_u64(crc, meta);
    crc = Crc::extend_u64(crc, offset);
    store_relaxed(header.payload_bytes, payload_bytes);
    store_relaxed(header.crc, static_cast<std::uint32_t>(~crc));
    store_relaxed(header.meta, meta);
}

/// Writes a whole entry at `to`, which lies in the file at `offset`: payload with zeros behind it up to a multiple of
/// 8, then the header.
template <class Crc>
[[gnu::always_inline]] inline void write_entry(std::byte* to, std::span<const std::byte> payload, std::uint64_t meta,
                                               std::uint64_t offset, std::uint32_t seed) noexcept {
    std::byte* const place = to + sizeof(format::entry_header);
    const std::size_t bytes = payload.size();
    if (!base::is_aligned(bytes, 8))
        std::memset(place + (bytes & ~std::size_t{7}), 0, 8);
#ifdef PMEMSTREAM_TEST_HOOKS
    std::uint64_t crc = Crc::copy(seed, place, payload.data(), bytes / 2);
    base::die_at(base::kill_point::copy);
    crc = Crc::copy(crc, place + bytes / 2, payload.data() + bytes / 2, bytes - bytes / 2);
#else
    std::uint64_t crc = Crc::copy(seed, place, payload.data(), bytes);
#endif
    write_header<Crc>(to, static_cast<std::uint32_t>(bytes), crc, meta, offset);
}

[[gnu::cold, gnu::noinline]] tl::unexpected<error> refuse_size(const log::stream_file& file, region where,
                                                               std::uint64_t offset, std::uint64_t room,
                                                               std::uint64_t payload_bytes) {
    if (payload_bytes > payload_bytes_max)
        return failure(errc::too_large, "{}: a payload of {} bytes; an entry holds at most {}", file.name(),
                       payload_bytes, payload_bytes_max);
    return failure(errc::region_full, "{}: region slot {} has {} bytes left at offset {}; the entry needs {}",
                   file.name(), where.index(), room, offset, format::entry_bytes(payload_bytes));
}

[[gnu::cold, gnu::noinline]] tl::unexpected<error> refuse_timestamps(const log::stream_file& file) {
    return failure(errc::exhausted, "{}: all timestamps up to {} are used", file.name(), format::timestamp_max);
}

[[gnu::cold, gnu::noinline]] tl::unexpected<error> refuse_behind_reservation(const log::stream_file& file,
                                                                             region where) {
    return failure(errc::reservation_open, "{}: region slot {}: publish or abandon the open reservation first",
                   file.name(), where.index());
}

}  // namespace

/// Everything of a commit but the look at the doorbell.
[[gnu::always_inline]] inline void writer::impl::store_commit(log::open_region& region, std::uint64_t end,
                                                              std::uint64_t newest,
                                                              std::uint64_t newest_of_stream) noexcept {
    auto& line = region.slot->commit;
    // Before the offset, so that after a kill between the two it is never too small: the next writer counts on from it.
    store_relaxed(line.timestamp, newest);
    base::die_at(base::kill_point::before_commit);
    // [V1] release. Pairs with the acquire [V2] in entry_walk.cpp: who sees the offset sees the bytes before it.
    //      Without it: a reader finds half an entry.
    store_release(line.commit_offset, end);
    base::die_at(base::kill_point::between_commits);
    // [V3] release. Pairs with the acquire [V4] in merged_cursor.cpp: who sees that timestamp finds every entry up to
    //      it behind the regions' commit offsets. Without it: a merged cursor passes over an entry for ever.
    store_release(*stream_committed, newest_of_stream);
    region.committed = end;
}

void writer::impl::commit(log::open_region& region, std::uint32_t index, std::uint64_t end,
                          std::uint64_t newest) noexcept {
    store_commit(region, end, newest, next_timestamp - 1);
    if (bell->wanted_after_commit(region.door_offset))
        bell->ring_from_append(index, region.slot->commit.wake);
}

// The whole of the usual case, in a function that calls nothing: saving registers for calls that are not made would be
// a third of its cost. Whatever is unusual goes to another function as its last act.
result<timestamp> writer::append(region where, std::span<const std::byte> payload) noexcept {
    auto& self = *impl_;
    const std::size_t bytes = payload.size();
    auto* const region = self.find_open(where);
    if (region == nullptr || base::trouble::load(*self.trouble) != 0 || !short_crc::good_for(bytes)) [[unlikely]]
        return self.append_any(where, payload);
    const std::uint64_t offset = region->committed;
    const std::uint64_t end = offset + format::entry_bytes(bytes);
    const std::uint64_t now = self.next_timestamp;
    if (region->claimed || end > region->end || now > format::timestamp_max) [[unlikely]]
        return self.append_any(where, payload);
    write_entry<short_crc>(self.base + offset, payload, now | self.epoch_bits, offset, region->crc_seed);
    if (base::trouble::load(*self.trouble) != 0) [[unlikely]]
        return self.append_any(where, payload);  // the very stores above may have met a page that is gone
    self.next_timestamp = now + 1;
    self.store_commit(*region, end, now, now);
    if (self.bell->wanted_after_commit<false>(region->door_offset)) [[unlikely]]
        return self.ring_after(where.index(), *region, timestamp{now});
    return timestamp{now};
}

[[gnu::cold, gnu::noinline]] result<timestamp> writer::impl::ring_after(std::uint32_t index, log::open_region& region,
                                                                        timestamp given) noexcept {
    bell->ring_from_append(index, region.slot->commit.wake);
    return given;
}

[[gnu::noinline]] result<timestamp> writer::impl::append_any(region where,
                                                             std::span<const std::byte> payload) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    if (region->claimed) [[unlikely]]
        return refuse_behind_reservation(*file, where);
    const std::uint64_t offset = region->committed;
    const std::uint64_t room = region->end - offset;
    if (payload.size() > payload_bytes_max || format::entry_bytes(payload.size()) > room) [[unlikely]]
        return refuse_size(*file, where, offset, room, payload.size());
    const std::uint64_t now = next_timestamp;
    if (now > format::timestamp_max) [[unlikely]]
        return refuse_timestamps(*file);
    write_entry<any_crc>(base + offset, payload, now | epoch_bits, offset, region->crc_seed);
    if (!usable()) [[unlikely]]
        return unusable();
    next_timestamp = now + 1;
    commit(*region, where.index(), offset + format::entry_bytes(payload.size()), now);
    return timestamp{now};
}

result<timestamp> writer::append_batch(region where, std::span<const std::span<const std::byte>> payloads) noexcept {
    return impl_->append_batch(where, payloads);
}

result<timestamp> writer::impl::append_batch(region where,
                                             std::span<const std::span<const std::byte>> payloads) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    if (payloads.empty()) [[unlikely]]
        return failure(errc::invalid_argument, "{}: an empty batch", file->name());
    if (region->claimed) [[unlikely]]
        return refuse_behind_reservation(*file, where);
    // All of it is checked before any of it is written.
    std::uint64_t offset = region->committed;
    for (const auto& payload : payloads) {
        const std::uint64_t room = region->end - offset;
        if (payload.size() > payload_bytes_max || format::entry_bytes(payload.size()) > room) [[unlikely]]
            return refuse_size(*file, where, offset, room, payload.size());
        offset += format::entry_bytes(payload.size());
    }
    if (payloads.size() > format::timestamp_max + 1 - next_timestamp) [[unlikely]]
        return refuse_timestamps(*file);

    offset = region->committed;
    for (std::size_t i = 0; i < payloads.size(); ++i) {
        const std::uint64_t more = i + 1 < payloads.size() ? entry_meta::more_bit : 0;
        write_entry<any_crc>(base + offset, payloads[i], (next_timestamp + i) | epoch_bits | more, offset,
                             region->crc_seed);
        offset += format::entry_bytes(payloads[i].size());
    }
    if (!usable()) [[unlikely]]
        return unusable();
    next_timestamp += payloads.size();
    commit(*region, where.index(), offset, next_timestamp - 1);
    return timestamp{next_timestamp - 1};
}

result<std::pair<std::uint64_t, std::span<std::byte>>> writer::impl::reserve(region where,
                                                                             std::uint64_t payload_bytes) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    auto& claims = *region->claims;
    const std::uint64_t offset = region->claimed ? claims.end : region->committed;
    const std::uint64_t room = region->end - offset;
    if (payload_bytes > payload_bytes_max || format::entry_bytes(payload_bytes) > room)
        return refuse_size(*file, where, offset, room, payload_bytes);
    if (claims.next - claims.first == log::claim_ring::max)
        return failure(errc::exhausted, "{}: region slot {} has {} open reservations already", file->name(),
                       where.index(), log::claim_ring::max);
    const std::uint64_t number = claims.next++;
    claims[number] = log::claim{.offset = offset, .payload_bytes = static_cast<std::uint32_t>(payload_bytes)};
    claims.end = offset + format::entry_bytes(payload_bytes);
    region->claimed = true;
    return std::pair(number, std::span(base + offset + sizeof(format::entry_header), payload_bytes));
}

result<timestamp> writer::impl::finish(region where, std::uint64_t number, log::claim::state how) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    auto& claims = *region->claims;
    auto& own = claims[number];
    if (how == log::claim::state::ready) {
        std::byte* const payload = base + own.offset + sizeof(format::entry_header);
        std::memset(payload + own.payload_bytes, 0, base::round_up(own.payload_bytes, 8) - own.payload_bytes);
        own.payload_crc_state = base::crc32c_extend(region->crc_seed, payload, own.payload_bytes);
    } else {
        own.payload_crc_state = region->crc_seed;
    }
    own.now = how;
    std::uint64_t end = region->committed;
    std::uint64_t newest = base::load_relaxed(region->slot->commit.timestamp);
    while (claims.first != claims.next) {
        const auto& next = claims[claims.first];
        if (next.now == log::claim::state::open)
            break;
        const bool filler = next.now == log::claim::state::abandoned;
        if (!filler && next_timestamp > format::timestamp_max) [[unlikely]]
            break;
        if (!filler)
            newest = next_timestamp++;
        write_header<any_crc>(base + next.offset, next.payload_bytes, next.payload_crc_state,
                              (filler ? entry_meta::filler_bit : newest) | epoch_bits, next.offset);
        end = next.offset + format::entry_bytes(next.payload_bytes);
        ++claims.first;
    }
    if (!usable()) [[unlikely]]
        return unusable();
    region->claimed = claims.first != claims.next;
    if (end != region->committed)
        commit(*region, where.index(), end, newest);
    if (region->claimed && next_timestamp > format::timestamp_max) [[unlikely]]
        return refuse_timestamps(*file);
    return timestamp{newest};
}

}  // namespace pmemstream
