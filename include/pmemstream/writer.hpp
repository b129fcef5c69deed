#pragma once

#include <pmemstream/detail/append.hpp>
#include <pmemstream/export.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>
#include <pmemstream/types.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pmemstream {

class writer;

/// When the persisted offsets move without being asked for: by default never, but closing always persists everything.
struct durability_policy {
    /// So long after the last time; 0: not by time. Whole milliseconds.
    std::chrono::milliseconds every{0};
    /// As soon as so many committed bytes wait to be persisted (looked at once a millisecond); 0: not by bytes.
    std::uint64_t every_bytes = 0;
};

struct writer_options {
    /// What append(), append_batch() and publish() reach before they return, unless they are told.
    horizon returns_at = horizon::committed;
    durability_policy policy = {};
    /// How pages are made durable. `automatic` stands aside for the environment variable PMEMSTREAM_SYNC, which names one
    /// of the three. writer::info() tells what it came to.
    page_sync sync_by = page_sync::automatic;
    /// How far ahead of the commit offsets space that the file system has not written yet is written with zeros, in the
    /// background, so that the first sync of entries there costs no more than later ones. Unset: 4 MiB where something
    /// persists (returns_at, or a policy), else nothing. Does nothing on media and file systems where it is of no use.
    std::optional<std::uint64_t> prepare_ahead_bytes = std::nullopt;
    /// How far ahead of each region's commit offset pages are made present and writable in this process, in the background,
    /// so that no append pays for being the first to store to one (1 to 13 µs each), or the first since a sync. 0: not
    /// at all. Unset: 4 MiB where a policy persists, else 0. Costs a thread that looks every millisecond while entries
    /// come, and so much memory for every region with room; on a disk those pages are written, as zeros, even if no
    /// entry ever comes. A thread populates 1 to 4 GB/s: who appends faster for longer than this lasts meets page faults
    /// again. Where a file system has huge pages, and there is no policy, they are used until somebody waits for persisted.
    std::optional<std::uint64_t> pretouch_ahead_bytes = std::nullopt;
    /// Permissions of the control file. Unset: those of the stream's file without the execute bits. Whoever may write
    /// the control file can sleep on the doorbell and register; they can also cost the writer time (see
    /// docs/guarantees.md).
    std::optional<mode_t> control_mode = std::nullopt;
    /// Make no control file and ring no doorbell: readers spin or poll. (They also do where none can be made, which is
    /// no error of open(): writer::control() tells.)
    bool without_control = false;
    bool allow_network_filesystem = false;
};

/// How an opening found the stream, and what it did (the table in docs/guarantees.md).
struct recovery_report {
    enum class state : std::uint8_t {
        clean,         ///< closed in order
        process_died,  ///< same boot, same file: the commit offsets hold; in pages, and what is whole behind them
        rescanned,     ///< power loss, or a copy: everything after the persisted offsets was read again
    };
    state found = state::clean;
    /// Found behind the persisted offsets by a rescan, or behind the commit offsets in pages (mostly the one entry that a
    /// killed writer was about to commit).
    std::uint64_t entries_recovered = 0;
    std::uint64_t regions_cut = 0;  ///< regions in which something after the last whole entry was cut
    std::uint64_t regions_cut_before_whole_entries = 0;  ///< of these: a later entry still verified
};

/// Space in a region for one entry, to be written in place. Destroying it abandons it. Must not outlive its writer.
class PMEMSTREAM_API reservation {
public:
    reservation() noexcept = default;
    reservation(reservation&& other) noexcept;
    reservation& operator=(reservation&& other) noexcept;
    ~reservation();

    /// The payload's place, writable until publish or abandon. Empty for a moved-from object.
    [[nodiscard]] std::span<std::byte> payload() const noexcept { return payload_; }

private:
    friend class writer;
    reservation(writer* owner, region where, std::uint64_t claim, std::span<std::byte> payload) noexcept
        : payload_(payload), owner_(owner), where_(where), claim_(claim) {}

    std::span<std::byte> payload_;
    writer* owner_ = nullptr;
    region where_;
    std::uint64_t claim_ = 0;
};

/// The one appender of a stream. Holds the writer lock from open() until it is destroyed; when its process dies the
/// kernel drops the lock and the next open() recovers. Cannot be copied or moved: reservations point to it.
/// Thread safety: one thread at a time, but for what says otherwise; callers with several bring their own mutex. Process safety: a forked child
/// gets wrong_process from every function and neither keeps the lock nor writes.
class PMEMSTREAM_API writer {
public:
    /// Takes the lock without waiting, then recovers (which may be cut short anywhere and begun again). The threads that it
    /// makes have the CPUs and the priority of the calling one: open before pinning the thread that appends.
    /// Errors: writer_busy (names the holder's pid), blocked_by_reader, device_busy, not_found, no_permission, not_a_file,
    /// not_a_stream, unsupported_format, truncated, corrupt, no_space (the file is sparse and the disk is full),
    /// unsupported_filesystem, invalid_argument (PMEMSTREAM_SYNC makes no sense), io (also: io_uring was asked for and is
    /// not to be had). A file that is refused is not changed.
    [[nodiscard]] static result<std::unique_ptr<writer>> open(const std::filesystem::path& file,
                                                              const writer_options& options = {});
    /// Like close(), with nobody to tell.
    ~writer();
    writer(const writer&) = delete;
    writer& operator=(const writer&) = delete;

    /// Persists everything, marks the stream clean, drops the lock. Open reservations are dropped, and what is published
    /// behind them. Every later call answers wrong_process or invalid_argument; a second close() does nothing. Errors: io
    /// (the stream stays unclean).
    [[nodiscard]] result<void> close() noexcept;

    [[nodiscard]] const recovery_report& recovery() const noexcept;
    /// Of a closed writer, or in a forked child, only the file's name.
    [[nodiscard]] stream_info info() const;

    /// Whether readers can sleep until they are rung for, and register: `attached` while there is a control file. `absent`
    /// if none was wanted, after close() and in a forked child. `refused` while none can be made, which harms nothing
    /// else and is tried again now and then; control_status() tells why. Thread safety: any thread.
    [[nodiscard]] control_state control() const noexcept;
    /// Why there is no control file although one was wanted. Errors, of the last attempt to make it: already_exists
    /// (something else is at its path), not_found (the stream lost the name it was opened by), no_permission, no_space, io.
    /// Thread safety: any thread.
    [[nodiscard]] result<void> control_status() const;

    // --- regions ------------------------------------------------------------------------------------------------

    /// Takes blocks for `size_bytes` of entries (headers of 16 bytes and padding to 8 included), durably.
    /// `name`: up to 63 bytes without NUL, or empty for none. `attributes` are stored beside the name. Errors:
    /// duplicate_name, too_small, too_large (also: more attributes than region_attributes_bytes_max), exhausted (the
    /// message gives the largest free extent), invalid_argument (name), io.
    [[nodiscard]] result<region> allocate(std::uint64_t size_bytes, std::string_view name = {},
                                          const region_attributes& attributes = {});

    /// Gives the blocks back; every handle and cursor of the region answers region_gone from now on. Refused as
    /// `pinned` while a registered cursor reads the region, and as `reservation_open` while one is open in it (its
    /// memory would be another's), unless `force`. Errors: region_gone, pinned, reservation_open, io.
    [[nodiscard]] result<void> free(region where, bool force = false);

    /// Empties the region, which keeps place and name and gets a new generation: the handle to use from now on. In order
    /// of allocation it is the last. Pins and errors as for free().
    [[nodiscard]] result<region> clear(region where, bool force = false);

    [[nodiscard]] result<region> find(std::string_view name) const;  ///< Errors: not_found.
    [[nodiscard]] result<region_info> describe(region where) const;  ///< Errors: region_gone.
    /// What it was allocated with. Errors: region_gone, corrupt (the region's head).
    [[nodiscard]] result<region_attributes> attributes(region where) const;
    /// In order of allocation; clearing counts as one, for the generation is new. Errors: corrupt.
    [[nodiscard]] result<std::vector<region_info>> regions() const;

    // --- entries ------------------------------------------------------------------------------------------------

    /// Copies `payload` to the end of `where` and commits it: every reader sees it when this returns. Nobody may change
    /// `payload` meanwhile: its CRC may be of other bytes then, and the entry `corrupt`. Wait-free, no allocation, no
    /// system call unless a reader sleeps. Errors, nothing changed: region_full, region_gone,
    /// reservation_open, too_large, exhausted (sequences), io (the mapping faulted), wrong_process.
    [[nodiscard]] result<sequence> append(region where, std::span<const std::byte> payload) noexcept;
    /// The same, and returns at `how`. When making it persisted fails, the entry is committed all the same. Further
    /// errors: io, no_space (the medium refused; see wait_persisted()).
    [[nodiscard]] result<sequence> append(region where, std::span<const std::byte> payload, horizon how) noexcept;

    /// Appends all payloads by one commit store: a reader, or a recovery, sees all of them or none. Returns the
    /// sequence of the last; the others precede it one by one. An empty batch is invalid_argument. Errors as for
    /// append().
    [[nodiscard]] result<sequence> append_batch(region where,
                                                std::span<const std::span<const std::byte>> payloads) noexcept;

    /// Claims space for an entry of `payload_bytes` behind all earlier claims of the region. Up to 64 reservations may
    /// be open in a region at once (exhausted). Other errors as for append(), except reservation_open.
    [[nodiscard]] result<reservation> reserve(region where, std::uint64_t payload_bytes) noexcept;

    /// Makes the entry ready. It is committed, and gets its sequence, when every earlier claim of the region is
    /// published or abandoned, in the order of the claims: so an open one holds up its own region only, and until it
    /// is gone the entry survives nothing, not even this process. Returns the region's last committed sequence after
    /// that: the entry's own if it is the last of the committed ones.
    [[nodiscard]] result<sequence> publish(reservation&& entry) noexcept;

    // --- durability ---------------------------------------------------------------------------------------------

    /// Returns true once every entry of the stream up to `upto` survives power loss, and false after `timeout`. Who
    /// waits does the work, for all who wait: a flush of the medium that has begun is not cut short by the timeout.
    /// Thread safety: any thread, beside the appending one. Errors: invalid_argument (no entry that new is committed),
    /// io, no_space (the medium refused: nothing is persisted any more until the stream is opened anew, and what was
    /// persisted before stays; the message gives errno, file and offset), wrong_process.
    [[nodiscard]] result<bool> wait_persisted(
        sequence upto, std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max()) noexcept;
    /// wait_persisted() of everything that is committed now.
    [[nodiscard]] result<void> persist() noexcept;
    /// Every entry of the stream up to this one is committed. Thread safety: any thread.
    [[nodiscard]] sequence committed() const noexcept;
    /// Every entry of the stream up to this one is persisted. Thread safety: any thread.
    [[nodiscard]] sequence persisted() const noexcept;

    /// Gives the reservation up: a filler takes its place, which no cursor shows.
    [[nodiscard]] result<void> abandon(reservation&& entry) noexcept;

    /// Futex wakes made so far by this writer, for those who watch that parked readers cost nothing.
    [[nodiscard]] std::uint64_t doorbell_rings() const noexcept;

private:
    struct PMEMSTREAM_HIDDEN impl;
    writer() noexcept = default;
    [[nodiscard]] bool take(reservation& entry) const noexcept;
    /// append() of anything, and what is left to do when somebody sleeps.
    [[nodiscard]] result<sequence> append_any(region where, std::span<const std::byte> payload) noexcept;
    [[nodiscard]] result<sequence> ring_after_append(std::uint32_t region_index, sequence given) noexcept;

    detail::append_state state_;  // impl_ keeps it
    std::unique_ptr<impl> impl_;
};

[[gnu::always_inline]] inline result<sequence> writer::append(region where,
                                                              std::span<const std::byte> payload) noexcept {
    auto& state = state_;
    const detail::appended done = detail::append_payload<false>(state, where, payload.data(), payload.size());
    if (done.sequence == 0) [[unlikely]]
        return append_any(where, payload);
    if (detail::somebody_sleeps(state, done.door_offset)) [[unlikely]]
        return ring_after_append(where.index(), sequence{done.sequence});
    return sequence{done.sequence};
}

}  // namespace pmemstream
