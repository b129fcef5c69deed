#include "src/base/checked.hpp"
#include "src/base/crc32c.hpp"
#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/writer/writer_impl.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <algorithm>
#include <cstring>

// Like the inlined part of append() in include/pmemstream/detail/append.hpp, nothing here allocates or makes a system
// call unless it fails, or a reader sleeps.
namespace pmemstream {

using base::failure;
using base::store_relaxed;
using format::entry_meta;

namespace {

/// Payloads so large are copied past the caches where they are to be durable at once on a medium that flushes lines:
/// the copy is as fast then, and there is nothing to flush. Below, the fence that orders such stores costs more than that.
constexpr std::size_t past_caches_bytes_min = std::size_t{16} << 10;

/// `crc`: the register after the payload. See format::entry_crc().
void write_header(std::byte* to, std::uint32_t payload_bytes, std::uint32_t crc, std::uint64_t epoch,
                  std::uint64_t meta, std::uint64_t offset) noexcept {
    auto& header = *reinterpret_cast<format::entry_header*>(to);
    store_relaxed(header.payload_bytes, payload_bytes);
    store_relaxed(header.crc, format::entry_crc(crc, payload_bytes, epoch, meta, offset));
    store_relaxed(header.meta, meta);
}

/// base::crc32c_copy(), in two halves where the tests step in between.
std::uint32_t copy_with_crc(std::uint32_t crc, void* to, const void* from, std::size_t bytes) noexcept {
#ifdef PMEMSTREAM_TEST_HOOKS
    const std::size_t half = bytes / 2;
    crc = base::crc32c_copy(crc, to, from, half);
    base::die_at(base::kill_point::copy);
    return base::crc32c_copy(crc, static_cast<std::byte*>(to) + half, static_cast<const std::byte*>(from) + half,
                             bytes - half);
#else
    return base::crc32c_copy(crc, to, from, bytes);
#endif
}

/// Stores a payload, with zeros behind it up to a multiple of 8; returns the CRC's register behind it.
[[gnu::always_inline]] inline std::uint32_t write_payload(std::byte* to, std::span<const std::byte> payload,
                                                          std::uint32_t seed) noexcept {
    const std::size_t bytes = payload.size();
    if (!base::is_aligned(bytes, 8))
        std::memset(to + (bytes & ~std::size_t{7}), 0, 8);
    return copy_with_crc(seed, to, payload.data(), bytes);
}

/// Writes a whole entry at `to`, which lies in the file at `offset`.
void write_entry(std::byte* to, std::span<const std::byte> payload, std::uint64_t epoch, std::uint64_t meta,
                 std::uint64_t offset, std::uint32_t seed) noexcept {
    const std::uint32_t crc = write_payload(to + sizeof(format::entry_header), payload, seed);
    write_header(to, static_cast<std::uint32_t>(payload.size()), crc, epoch, meta, offset);
}

[[gnu::cold, gnu::noinline]] tl::unexpected<error> refuse_size(const core::stream_file& file, const std::string& where,
                                                               std::uint64_t offset, std::uint64_t room,
                                                               std::uint64_t payload_bytes) {
    if (payload_bytes > payload_bytes_max)
        return failure(errc::too_large, "{}: a payload of {} bytes; an entry holds at most {}", file.name(),
                       payload_bytes, payload_bytes_max);
    return failure(errc::region_full, "{}: {} has {} bytes left at offset {}; the entry needs {}", file.name(), where,
                   room, offset, format::entry_bytes(payload_bytes));
}

[[gnu::cold, gnu::noinline]] tl::unexpected<error> refuse_sequences(const core::stream_file& file) {
    return failure(errc::exhausted, "{}: all sequences up to {} are used", file.name(), format::sequence_max);
}

[[gnu::cold, gnu::noinline]] tl::unexpected<error> refuse_behind_reservation(const core::stream_file& file,
                                                                             const std::string& where) {
    return failure(errc::reservation_open, "{}: {}: publish or abandon the open reservation first", file.name(), where);
}

}  // namespace

// What the inlined part of an append knows of the format, beside an entry's layout (src/format/entry.cpp).
static_assert(detail::live_state_word(region(0, 7)) == format::state_word(7, format::slot_state::live));
static_assert(offsetof(format::slot_commit_line, commit_offset) == 0 &&
              offsetof(format::slot_commit_line, sequence) == 8);

/// For messages.
[[gnu::cold, gnu::noinline]] std::string writer::impl::name_of(region where) const {
    return core::region_text(table.slot(where.index()).cold, where.index());
}

void writer::impl::commit(std::uint32_t index, std::uint64_t end, std::uint64_t newest) noexcept {
    detail::store_commit(hot, regions[index], end, newest, hot.next_sequence - 1);
    const std::uint32_t door_offset = regions[index].door_offset;
    if (bell->fenced() ? detail::somebody_sleeps<true>(hot, door_offset)
                       : detail::somebody_sleeps<false>(hot, door_offset))
        bell->ring_from_append(index, table.slot(index).commit.wake);
}

/// What mutants do before the entry is there.
inline void writer::impl::announce_too_early(std::uint32_t index, std::uint64_t end) noexcept {
    if (base::mutated(base::mutant::offset_before_entry))
        base::store_release(regions[index].commit_line[0], end);
    if (base::mutated(base::mutant::sequence_before_offset))
        base::store_release(*hot.stream_committed, hot.next_sequence);
    if (base::mutated(base::mutant::persisted_word_before_entry))
        base::store_release(table.slot(index).persist.persisted, format::persisted_word(end, epoch));
}

decltype(detail::append_state::copy_long) writer::impl::long_copy() noexcept {
    // Mutants are the library's own to announce.
    return base::mutated() ? nullptr : copy_with_crc;
}

detail::appended writer::impl::append_long(region where, std::span<const std::byte> payload) noexcept {
    if (payload.size() > payload_bytes_max)
        return {};
    return detail::append_one(
        hot, where, payload.size(), base::round_up(payload.size(), 8), [&](std::byte* to, std::uint64_t seed) noexcept {
            announce_too_early(where.index(), regions[where.index()].committed + format::entry_bytes(payload.size()));
            return write_payload(to, payload, static_cast<std::uint32_t>(seed));
        });
}

result<sequence> writer::append_any(region where, std::span<const std::byte> payload) noexcept {
    auto& hot = impl_->hot;
    if (impl_->all_durable)
        return impl_->append_durably(where, payload);
    const bool too_early = base::mutated(base::mutant::flags_before_commit);
    const bool seen_before = too_early && detail::somebody_sleeps(hot, impl_->regions[where.index()].door_offset);
    detail::appended done = detail::append_payload<true>(hot, where, payload.data(), payload.size());
    if (base::mutated() && done.sequence == 0)
        done = impl_->append_long(where, payload);
    if (done.sequence == 0)
        return impl_->append(where, payload);
    const sequence given{done.sequence};
    if (too_early ? seen_before : detail::somebody_sleeps(hot, done.door_offset)) [[unlikely]]
        return ring_after_append(where.index(), given);
    return given;
}

[[gnu::cold]] result<sequence> writer::ring_after_append(std::uint32_t region_index, sequence given) noexcept {
    impl_->bell->ring_from_append(region_index, impl_->table.slot(region_index).commit.wake);
    return given;
}

/// The payload alone, to where it lies in the file; returns the CRC's register behind it.
std::uint32_t writer::impl::copy_past_caches(std::uint64_t offset, std::span<const std::byte> payload,
                                             std::uint32_t crc_seed) noexcept {
    // So little at a time that it is still in the nearest cache when it is read for the second time.
    constexpr std::size_t piece_bytes = 4096;
    std::uint32_t crc = crc_seed;
    for (std::size_t done = 0; done < payload.size(); done += piece_bytes) {
        const auto piece = payload.subspan(done, std::min(piece_bytes, payload.size() - done));
        crc = base::crc32c_extend(crc, piece.data(), piece.size());
        file->medium().copy_past_caches(offset + done, piece.data(), piece.size());
        base::die_at(base::kill_point::copy);
    }
    // [V10] What went past the caches is seen before the commit offset that is stored next: such stores are ordered by a
    //       fence and nothing else. Pairs with [V2] in entry_walk.cpp. Without it: a reader finds an entry without its
    //       payload.
    if (!base::mutated(base::mutant::copy_not_fenced))
        file->medium().drain();
    return crc;
}

result<sequence> writer::impl::append(region where, std::span<const std::byte> payload,
                                      medium::byte_range* past_caches) noexcept {
    auto* const region = find_open(where);
    if (!usable()) [[unlikely]] {
        // Perhaps the inlined part wrote it, if there is room.
        if (region != nullptr && region->end - region->committed >= format::entry_bytes(payload.size()))
            rollback_append(region->committed);
        return unusable();
    }
    if (region == nullptr) [[unlikely]]
        return gone(where);
    if (region->limit == 0) [[unlikely]]
        return refuse_behind_reservation(*file, name_of(where));
    const std::uint64_t offset = region->committed;
    const std::uint64_t room = region->end - offset;
    if (payload.size() > payload_bytes_max || format::entry_bytes(payload.size()) > room) [[unlikely]]
        return refuse_size(*file, name_of(where), offset, room, payload.size());
    const std::uint64_t now = hot.next_sequence;
    if (now > format::sequence_max) [[unlikely]]
        return refuse_sequences(*file);
    const std::uint64_t end = offset + format::entry_bytes(payload.size());
    announce_too_early(where.index(), end);
    if (past_caches != nullptr) {
        const std::uint64_t begin = offset + sizeof(format::entry_header);
        std::memset(hot.base + begin + payload.size(), 0, end - begin - payload.size());
        const std::uint32_t crc = copy_past_caches(begin, payload, region->crc_seed);
        write_header(hot.base + offset, static_cast<std::uint32_t>(payload.size()), crc, epoch, now | hot.epoch_bits,
                     offset);
        // [P21] Durable by now are the lines that hold payload and nothing else; header and padding, which were stored
        //       as usual, share lines with its ends. Pairs with [P22] in flusher.cpp. Without it: the header is torn.
        constexpr std::uint64_t line_bytes = 64;
        past_caches->offset =
            base::mutated(base::mutant::header_taken_for_durable) ? offset : base::round_up(begin, line_bytes);
        past_caches->bytes = (begin + payload.size()) / line_bytes * line_bytes - past_caches->offset;
    } else {
        write_entry(hot.base + offset, payload, epoch, now | hot.epoch_bits, offset, region->crc_seed);
    }
    if (!usable()) [[unlikely]] {
        rollback_append(offset);
        return unusable();
    }
    hot.next_sequence = now + 1;
    commit(where.index(), end, now);
    return sequence{now};
}

result<sequence> writer::append(region where, std::span<const std::byte> payload, horizon how) noexcept {
    if (how != horizon::persisted || impl_->all_durable)
        return append(where, payload);
    if (payload.size() >= past_caches_bytes_min)
        return impl_->append_durably(where, payload);
    return impl_->persist_appended(where.index(), append(where, payload));
}

result<sequence> writer::impl::append_durably(region where, std::span<const std::byte> payload) noexcept {
    medium::byte_range past_caches;
    const bool pays =
        file->medium().granularity() == granularity::cache_line && payload.size() >= past_caches_bytes_min;
    auto appended = append(where, payload, pays ? &past_caches : nullptr);
    return persist_appended(where.index(), std::move(appended), past_caches);
}

result<sequence> writer::append_batch(region where, std::span<const std::span<const std::byte>> payloads) noexcept {
    auto appended = impl_->append_batch(where, payloads);
    return impl_->all_durable ? impl_->persist_appended(where.index(), std::move(appended)) : appended;
}

/// Makes what was just committed in a region persisted as well.
result<sequence> writer::impl::persist_appended(std::uint32_t index, result<sequence> appended,
                                                medium::byte_range past_caches) noexcept {
    if (!appended)
        return appended;
    if (file->medium().flushes()) {
        // One region, by the appending thread: no round over all of them.
        if (auto done = flusher->persist_region(index, past_caches); !done)
            return tl::unexpected(std::move(done.error()));
    } else {
        file->medium().sync_single_pages();
        if (auto done = flusher->wait(to_uint(*appended), std::chrono::nanoseconds::max()); !done)
            return tl::unexpected(std::move(done.error()));
    }
    return appended;
}

result<sequence> writer::impl::append_batch(region where,
                                            std::span<const std::span<const std::byte>> payloads) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    if (payloads.empty()) [[unlikely]]
        return failure(errc::invalid_argument, "{}: an empty batch", file->name());
    if (region->limit == 0) [[unlikely]]
        return refuse_behind_reservation(*file, name_of(where));
    // All of it is checked before any of it is written.
    std::uint64_t offset = region->committed;
    for (const auto& payload : payloads) {
        const std::uint64_t room = region->end - offset;
        if (payload.size() > payload_bytes_max || format::entry_bytes(payload.size()) > room) [[unlikely]]
            return refuse_size(*file, name_of(where), offset, room, payload.size());
        offset += format::entry_bytes(payload.size());
    }
    if (payloads.size() > format::sequence_max + 1 - hot.next_sequence) [[unlikely]]
        return refuse_sequences(*file);

    offset = region->committed;
    for (std::size_t i = 0; i < payloads.size(); ++i) {
        const std::uint64_t more = i + 1 < payloads.size() ? entry_meta::more_bit : 0;
        write_entry(hot.base + offset, payloads[i], epoch, (hot.next_sequence + i) | hot.epoch_bits | more, offset,
                    region->crc_seed);
        offset += format::entry_bytes(payloads[i].size());
    }
    if (!usable()) [[unlikely]] {
        offset = region->committed;
        for (const auto& payload : payloads) {
            rollback_append(offset);
            offset += format::entry_bytes(payload.size());
        }
        return unusable();
    }
    hot.next_sequence += payloads.size();
    commit(where.index(), offset, hot.next_sequence - 1);
    return sequence{hot.next_sequence - 1};
}

result<std::pair<std::uint64_t, std::span<std::byte>>> writer::impl::reserve(region where,
                                                                             std::uint64_t payload_bytes) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    auto& ring = *claims[where.index()];
    const std::uint64_t offset = ring.any_open() ? ring.end : region->committed;
    const std::uint64_t room = region->end - offset;
    if (payload_bytes > payload_bytes_max || format::entry_bytes(payload_bytes) > room)
        return refuse_size(*file, name_of(where), offset, room, payload_bytes);
    if (ring.next - ring.first == core::claim_ring::max)
        return failure(errc::exhausted, "{}: {} has {} open reservations already", file->name(), name_of(where),
                       core::claim_ring::max);
    const std::uint64_t number = ring.next++;
    ring[number] = core::claim{.offset = offset, .payload_bytes = static_cast<std::uint32_t>(payload_bytes)};
    ring.end = offset + format::entry_bytes(payload_bytes);
    region->limit = 0;
    return std::pair(number, std::span(hot.base + offset + sizeof(format::entry_header), payload_bytes));
}

result<sequence> writer::impl::finish(region where, std::uint64_t number, core::claim::state how) noexcept {
    if (!usable()) [[unlikely]]
        return unusable();
    auto* const region = find_open(where);
    if (region == nullptr) [[unlikely]]
        return gone(where);
    auto& ring = *claims[where.index()];
    auto& own = ring[number];
    if (how == core::claim::state::ready) {
        std::byte* const payload = hot.base + own.offset + sizeof(format::entry_header);
        std::memset(payload + own.payload_bytes, 0, base::round_up(own.payload_bytes, 8) - own.payload_bytes);
        own.payload_crc_state = base::crc32c_extend(region->crc_seed, payload, own.payload_bytes);
    } else {
        own.payload_crc_state = region->crc_seed;
    }
    own.now = how;
    std::uint64_t end = region->committed;
    std::uint64_t newest = base::load_relaxed(region->commit_line[1]);
    const std::uint64_t finished = ring.first;
    while (ring.any_open()) {
        const auto& next = ring[ring.first];
        if (next.now == core::claim::state::open)
            break;
        const bool filler = next.now == core::claim::state::abandoned;
        if (!filler && hot.next_sequence > format::sequence_max) [[unlikely]]
            break;
        if (!filler)
            newest = hot.next_sequence++;
        write_header(hot.base + next.offset, next.payload_bytes, next.payload_crc_state, epoch,
                     (filler ? entry_meta::system(format::system_type::filler) : newest) | hot.epoch_bits, next.offset);
        end = next.offset + format::entry_bytes(next.payload_bytes);
        ++ring.first;
    }
    if (!usable()) [[unlikely]] {
        for (std::uint64_t taken = finished; taken != ring.first; ++taken)
            rollback_append(ring[taken].offset);
        ring.first = finished;
        return unusable();
    }
    region->limit = ring.any_open() ? 0 : region->end;
    if (end != region->committed)
        commit(where.index(), end, newest);
    if (ring.first <= number && hot.next_sequence > format::sequence_max) [[unlikely]]
        return refuse_sequences(*file);
    return sequence{newest};
}

}  // namespace pmemstream
