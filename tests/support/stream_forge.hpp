#pragma once

#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "src/format/system_entry.hpp"
#include "src/format/validate.hpp"
#include "src/format/words.hpp"

#include <pmemstream/stream.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string_view>

namespace pmemstream::test {

/// Writes into a stream that nobody has open, as a library with more features than this one might: every CRC is right, and the
/// stream stays clean unless leave_unclean() is called.
class stream_forge {
public:
    explicit stream_forge(const std::filesystem::path& file) : bytes_(std::filesystem::file_size(file)) {
        const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
        void* const at = fd < 0 ? MAP_FAILED : ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ::close(fd);
        if (at == MAP_FAILED)
            throw std::runtime_error("cannot map " + file.string());
        begin_ = static_cast<std::byte*>(at);
    }
    ~stream_forge() { ::munmap(begin_, bytes_); }
    stream_forge(const stream_forge&) = delete;
    stream_forge& operator=(const stream_forge&) = delete;

    template <class T>
    [[nodiscard]] T& at(std::uint64_t offset) const {
        return *reinterpret_cast<T*>(begin_ + offset);
    }
    [[nodiscard]] format::superblock& superblock() const { return at<format::superblock>(0); }
    [[nodiscard]] format::shared_header& header() const { return at<format::shared_header>(format::header_offset); }
    /// Of the first segment of the table.
    [[nodiscard]] format::region_slot& slot(std::uint32_t index) const {
        return at<format::region_slot>(format::first_slots_offset + index * sizeof(format::region_slot));
    }
    [[nodiscard]] std::uint64_t epoch() const { return format::epoch_of(header().identity.epoch); }

    /// After a change of a slot's fields.
    void sign(std::uint32_t index) const {
        auto& cold = slot(index).cold;
        auto& extent = at<format::extent_header>(cold.extent_offset);
        extent.flags = cold.flags;
        extent.crc = format::extent_crc(extent);
        cold.place_crc = format::place_crc(cold);
        cold.crc = format::cold_crc(cold, format::generation_of(cold.state));
    }

    /// Writes an entry at the commit offset, which moves behind it (as does the persisted offset where the two were equal).
    /// `meta` has no epoch yet. Returns its offset.
    std::uint64_t append(std::uint32_t index, std::uint64_t meta, std::string_view payload) const {
        const std::uint64_t offset = write(index, slot(index).commit.commit_offset, meta, payload);
        move_end(index, offset + format::entry_bytes(payload.size()), meta);
        return offset;
    }
    std::uint64_t append_user(std::uint32_t index, std::string_view payload) const {
        return append(index, header().commit.sequence + 1, payload);
    }
    std::uint64_t append_mark(std::uint32_t index, const format::mark_payload& mark) const {
        const std::uint64_t offset =
            append(index, format::entry_meta::system(format::system_type::mark), bytes_of(mark));
        slot(index).commit.mark_offset = slot(index).persist.mark_offset = offset;
        return offset;
    }
    /// Only writes it: behind the commit offset it is there for a recovery to find.
    std::uint64_t write(std::uint32_t index, std::uint64_t offset, std::uint64_t meta, std::string_view payload) const {
        const auto payload_bytes = static_cast<std::uint32_t>(payload.size());
        meta |= format::entry_meta::epoch_bits(epoch());
        const std::uint64_t generation = format::generation_of(slot(index).cold.state);
        std::uint32_t state = format::entry_crc_seed(superblock().uuid, generation);
        if (format::crc_covers_payload(meta))
            state = base::crc32c_extend(state, payload.data(), payload.size());
        std::memset(begin_ + offset, 0, format::entry_bytes(payload_bytes));
        std::memcpy(begin_ + offset + sizeof(format::entry_header), payload.data(), payload.size());
        at<format::entry_header>(offset) = {payload_bytes,
                                            format::entry_crc(state, payload_bytes, epoch(), meta, offset), meta};
        return offset;
    }

    /// As power loss leaves it: boot and commit offsets are not to be trusted.
    void leave_unclean() const {
        header().identity.clean_epoch = 0;
        header().identity.boot_id[0] ^= std::byte{1};
    }

    template <class T>
    [[nodiscard]] static std::string_view bytes_of(const T& value) {
        return {reinterpret_cast<const char*>(&value), sizeof value};
    }

private:
    void move_end(std::uint32_t index, std::uint64_t end, std::uint64_t meta) const {
        auto& [cold, commit, persist] = slot(index);
        commit.commit_offset = end;
        persist.persisted = format::persisted_word(end, epoch());
        if (format::entry_meta::is_system(meta))
            return;
        const std::uint64_t sequence = format::entry_meta::sequence(meta);
        commit.sequence = persist.sequence = sequence;
        header().commit.sequence = header().persist.sequence = sequence;
    }

    std::uint64_t bytes_;
    std::byte* begin_ = nullptr;
};

}  // namespace pmemstream::test
