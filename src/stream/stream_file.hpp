#pragma once

#include "src/base/backing.hpp"
#include "src/base/mapped.hpp"
#include "src/base/unique_fd.hpp"
#include "src/format/layout.hpp"
#include "src/format/validate.hpp"
#include "src/medium/mapping.hpp"

#include <pmemstream/result.hpp>
#include <pmemstream/types.hpp>

#include <sys/types.h>
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace pmemstream::core {

/// The stream's file, or block device: opened, checked as far as superblock and sizes go, mapped.
class stream_file {
public:
    /// Changes nothing. Errors: see reader::open.
    [[nodiscard]] static result<std::shared_ptr<stream_file>> open(const std::filesystem::path& file,
                                                                   medium::access mode, bool allow_network_filesystem,
                                                                   page_sync sync_by = page_sync::system_calls);

    /// As it was given, for messages.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Absolute, because the process may change its directory, and without links, so that all who open the stream by
    /// one name or another look for its control file in the same place.
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] uid_t owner() const noexcept { return owner_; }
    [[nodiscard]] gid_t group() const noexcept { return group_; }
    [[nodiscard]] mode_t file_mode() const noexcept { return file_mode_; }
    /// Of what path() leads to: the file, or the node of the device.
    [[nodiscard]] std::uint64_t device() const noexcept { return device_; }
    [[nodiscard]] std::uint64_t inode() const noexcept { return inode_; }
    /// What it lies in. A file may have grown since.
    [[nodiscard]] const base::backing& backing() const noexcept { return backing_; }

    /// As it was checked at open; it never changes.
    [[nodiscard]] const format::superblock& superblock() const noexcept { return superblock_; }
    [[nodiscard]] std::uint64_t stream_bytes() const noexcept { return mapping_->bytes(); }
    [[nodiscard]] medium::mapping& medium() const noexcept { return *mapping_; }

    [[nodiscard]] format::shared_header& header() const noexcept {
        return at<format::shared_header>(format::header_offset);
    }
    /// Of the last writer, or the one at work.
    [[nodiscard]] std::uint64_t epoch() const noexcept {
        return format::epoch_of(base::load_acquire(header().identity.epoch));
    }
    /// No entry in the file is of a later writer: what a damaged header says is bounded.
    [[nodiscard]] std::uint64_t newest_possible_epoch() const noexcept { return std::min(epoch(), format::epoch_max); }
    [[nodiscard]] std::byte* bytes_at(std::uint64_t offset) const noexcept { return mapping_->data() + offset; }
    /// The struct at an offset that was checked before.
    template <class T>
    [[nodiscard]] T& at(std::uint64_t offset) const noexcept {
        return *reinterpret_cast<T*>(bytes_at(offset));
    }
    template <class T>
    [[nodiscard]] std::uint64_t offset_of(const T& in_mapping) const noexcept {
        return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&in_mapping) - mapping_->data());
    }
    /// The fault guard had to replace part of the mapping by zeros.
    [[nodiscard]] bool is_lost() const noexcept {
        // What was read before stays before: if zeros of the guard's were among it, the word that it set is seen.
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return mapping_->has_faulted();
    }
    /// For who waits, where no access to the mapping may tell: whether the file has become shorter than the stream; the
    /// mapping is taken for lost from then on. Asks the system four times a second at most, and is false in between.
    [[nodiscard]] bool is_cut_short() noexcept;
    /// The error that says so.
    [[nodiscard]] tl::unexpected<error> lost() const;
    /// What `question` answers, but `io` once part of the mapping is lost: the guard's zeros are neither damage nor
    /// absence, and where they make no error, they make a wrong answer.
    template <class Question>
    [[nodiscard]] auto ask(const Question& question) const -> decltype(question()) {
        auto answer = question();
        if (is_lost()) [[unlikely]]
            return lost();
        return answer;
    }
    /// In the file itself, whatever took the mapping's place; not behind its end. Errors: none that anybody could help.
    void store_zeros(std::uint64_t offset, std::size_t bytes) const noexcept;
    /// Makes a struct in the mapping durable.
    template <class T>
    [[nodiscard]] result<void> persist(const T& in_mapping) const noexcept {
        return mapping_->persist(offset_of(in_mapping), sizeof in_mapping);
    }

private:
    stream_file() noexcept = default;

    std::string name_;
    std::string path_;
    base::unique_fd fd_;
    uid_t owner_ = 0;
    gid_t group_ = 0;
    mode_t file_mode_ = 0;
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
    base::backing backing_;
    format::superblock superblock_{};
    std::unique_ptr<medium::mapping> mapping_;
    std::atomic<std::int64_t> next_look_ns_{0};  // at its size
};

/// Errors: unsupported_filesystem where mappings of two machines would not be coherent.
[[nodiscard]] result<void> check_filesystem(int fd, const std::string& file, bool allow_network_filesystem);

}  // namespace pmemstream::core
