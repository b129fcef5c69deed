#pragma once

#include "ipc/control_place.hpp"
#include "ipc/fork_watch.hpp"
#include "src/base/fault_registry.hpp"
#include "src/base/fault_state.hpp"
#include "src/base/unique_fd.hpp"

#include <pmemstream/result.hpp>

#include <sys/types.h>
#include <array>
#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

// STREAM.ctl: what sleeping and registered readers tell the writer. Volatile: nothing in it is trusted, everything in
// it can be made anew, and the stream is right without it.
namespace pmemstream::ipc {

inline constexpr std::uint64_t magic_control = 0x0a4c5443534d4550;  // "PEMSCTL\n"
inline constexpr std::uint32_t control_version = 1;
inline constexpr std::uint32_t region_doors = 1024;  // regions with a higher index use the stream's door
inline constexpr std::uint32_t reader_slots_max = 2048;
inline constexpr std::size_t reader_name_bytes = 48;

/// Flags, not counts: a count goes stale when a sleeper is killed. Set by a reader before it sleeps, cleared by the
/// writer before it rings.
struct alignas(64) door {
    std::uint32_t committed;
    std::uint32_t persisted;
    std::array<std::byte, 56> reserved;
};
static_assert(sizeof(door) == 64);

/// A registered cursor. Alive while the byte at the slot's offset in the control file is locked.
struct alignas(64) reader_slot {
    std::uint32_t used;
    std::uint32_t pid;
    std::uint32_t region_index;  // all_regions for a merged cursor
    std::uint32_t horizon;       // 0: committed
    std::uint64_t generation;
    std::uint64_t position;  // offset of the next entry; for a merged cursor the last sequence shown
    std::uint32_t asleep;
    std::uint32_t reserved0;
    std::uint64_t since_ns;
    std::array<char, reader_name_bytes> name;
    std::array<std::byte, 32> reserved;
};
static_assert(sizeof(reader_slot) == 128);
inline constexpr std::uint32_t all_regions = 0xffff'ffff;

struct control_layout {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t struct_bytes;
    std::uint64_t nonce;
    std::array<std::byte, 40> reserved;
    door stream;
    std::array<door, region_doors> regions;
    std::array<reader_slot, reader_slots_max> readers;
};
static_assert(offsetof(control_layout, stream) == 64 && offsetof(control_layout, regions) == 128);

class control_file;

/// What a writer wants to have.
struct wanted_control {
    const control_place& place;
    std::uint64_t nonce = 0;  ///< of the file to keep, if it is there; 0: a new one
    mode_t mode = 0;
    uid_t owner = 0;  ///< of the stream's file, as is the next
    gid_t group = 0;
    const control_file* earlier = nullptr;  ///< of this writer, which the new one takes the place of
};

/// A mapped control file.
/// Process safety: any number of processes; every word is accessed atomically.
class control_file {
public:
    /// For the writer: keeps the file of that nonce if it is there and whole, of an owner it can trust, so that readers
    /// who sleep on it stay; else makes a new one with a new nonce under a temporary name and renames it, over a control
    /// file whoever owns that. Something at that path that is no control file is left alone, and no link is followed.
    /// Errors: not_found (the stream has another name by now), io, no_permission, no_space, already_exists.
    [[nodiscard]] static result<std::shared_ptr<control_file>> adopt_or_create(const wanted_control& wanted);
    /// For a reader: the file of that nonce, of an owner it can trust. Errors: not_found (none, or another nonce),
    /// no_permission, io.
    [[nodiscard]] static result<std::shared_ptr<control_file>> attach(const control_place& place, std::uint64_t nonce,
                                                                      uid_t stream_owner, bool writable);

    [[nodiscard]] control_layout& layout() const noexcept { return *layout_; }
    [[nodiscard]] std::uint64_t nonce() const noexcept { return nonce_; }
    /// The guard had to replace part of it.
    [[nodiscard]] bool lost() const noexcept {
        return (base::fault_state::load(fault_state_) & base::fault_state::faulted) != 0;
    }
    /// This file still has its name, and its full length.
    [[nodiscard]] bool is_at(const control_place& place) const noexcept;

    /// The description that holds the locks of this process' reader slots; -1 in a forked child.
    [[nodiscard]] int fd() const noexcept { return fd_; }
    ~control_file();
    control_file(const control_file&) = delete;
    control_file& operator=(const control_file&) = delete;
    [[nodiscard]] static std::uint64_t offset_of(std::uint32_t reader_slot_index) noexcept;

private:
    control_file() noexcept = default;
    [[nodiscard]] static std::shared_ptr<control_file> adopt(const wanted_control& wanted);
    [[nodiscard]] static result<std::shared_ptr<control_file>> map(const std::string& path, base::unique_fd fd,
                                                                   bool writable);

    int fd_ = -1;
    std::optional<fork_watch> watch_;
    boost::interprocess::mapped_region region_;
    control_layout* layout_ = nullptr;
    std::uint64_t nonce_ = 0;
    std::uint32_t fault_state_ = 0;
    base::guarded_range guard_;
};

}  // namespace pmemstream::ipc
