#include "tests/corrupt/stream_image.hpp"

#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "tests/support/expect.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace pmemstream::test {

namespace {

template <class T>
T at(std::span<const std::byte> image, std::uint64_t offset) {
    T value;
    std::memcpy(&value, image.data() + offset, sizeof value);
    return value;
}

class describer {
public:
    explicit describer(std::span<const std::byte> image)
        : image_(image), superblock_(at<format::superblock>(image, format::superblock_offset)) {}

    std::vector<piece> describe() {
        add("superblock", 0, sizeof(format::superblock));
        // Counted from the file's begin, as the page does.
        pieces_.push_back({"superblock page", 0, format::header_offset});
        std::uint64_t line = format::header_offset;
        for (const char* name :
             {"identity_line", "stream_commit_line", "stream_persist_line", "stream_wake_line", "feature_line"})
            line = add(name, line, format::line_bytes);
        for (std::uint64_t segment = format::first_segment_offset; segment != 0;)
            segment = describe_segment(segment);
        add_free_blocks();
        return std::move(pieces_);
    }

private:
    std::uint64_t add(const char* name, std::uint64_t begin, std::uint64_t bytes) {
        if (bytes > 0)
            pieces_.push_back({name, begin, begin + bytes});
        return begin + bytes;
    }

    std::uint64_t describe_segment(std::uint64_t offset) {
        const auto header = at<format::segment_header>(image_, offset);
        taken_.emplace_back(offset, offset + header.segment_bytes);
        std::uint64_t slot = add("segment_header", offset, sizeof header);
        for (std::uint32_t i = 0; i < header.slots; ++i, slot += sizeof(format::region_slot))
            describe_slot(slot);
        add("segment rest", slot, offset + header.segment_bytes - slot);
        return header.next & ~format::segment_link_mask;
    }

    void describe_slot(std::uint64_t offset) {
        const auto slot = at<format::region_slot>(image_, offset);
        if (format::state_of(slot.cold.state) != format::slot_state::live) {
            add("free region_slot", offset, sizeof slot);
            return;
        }
        offset = add("slot_cold", offset, sizeof slot.cold);
        offset = add("slot_commit_line", offset, sizeof slot.commit);
        add("slot_persist_line", offset, sizeof slot.persist);
        const std::uint64_t end = slot.cold.extent_offset + slot.cold.extent_bytes;
        taken_.emplace_back(slot.cold.extent_offset, end);
        std::uint64_t entry = add("extent_header", slot.cold.extent_offset, sizeof(format::extent_header));
        while (entry < slot.commit.commit_offset) {
            const auto header = at<format::entry_header>(image_, entry);
            const bool filler = !format::crc_covers_payload(header.meta);
            const std::uint64_t behind = entry + format::entry_bytes(header.payload_bytes);
            const bool head = entry == slot.cold.extent_offset + sizeof(format::extent_header);
            entry = add(head ? "head entry_header" : "entry_header", entry, sizeof header);
            entry = add(head     ? "head payload"
                        : filler ? "filler payload"
                                 : "entry payload",
                        entry, header.payload_bytes);
            entry = add("entry padding", entry, behind - entry);
        }
        add("region tail", entry, end - entry);
    }

    void add_free_blocks() {
        std::sort(taken_.begin(), taken_.end());
        std::uint64_t reached = superblock_.data_offset;
        taken_.emplace_back(image_.size(), image_.size());
        for (const auto& [begin, end] : taken_) {
            if (begin > reached)
                add("free blocks", reached, begin - reached);
            reached = std::max(reached, end);
        }
    }

    std::span<const std::byte> image_;
    format::superblock superblock_;
    std::vector<piece> pieces_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> taken_;
};

[[noreturn]] void throw_errno(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

std::vector<piece> pieces_of(std::span<const std::byte> image) {
    return describer(image).describe();
}

std::vector<std::byte> read_file(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

scratch_file::scratch_file(std::filesystem::path path, std::span<const std::byte> content)
    : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    struct stat st {};
    if (!fd_ || ::fstat(fd_.get(), &st) != 0)
        throw_errno("making a scratch file");
    device_ = st.st_dev;
    inode_ = st.st_ino;
    reset(content);
}

void scratch_file::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
    if (::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(bytes.size()))
        throw_errno("writing a scratch file");
}

void scratch_file::reset(std::span<const std::byte> content) const {
    truncate(content.size());
    write(0, content);
}

void scratch_file::truncate(std::uint64_t bytes) const {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0)
        throw_errno("truncating a scratch file");
}

bool scratch_file::holds(std::span<const std::byte> content) const {
    std::vector<std::byte> now(content.size() + 1);
    const ssize_t got = ::pread(fd_.get(), now.data(), now.size(), 0);
    return got == static_cast<ssize_t>(content.size()) && std::memcmp(now.data(), content.data(), content.size()) == 0;
}

void make_small_stream(const std::filesystem::path& file) {
    must(create(file, {.stream_bytes = 40960, .block_bytes = 64, .file_mode = {}}));
    const auto to = must(writer::open(file, {.control_mode = {}, .without_control = true}));
    std::vector<region> regions;
    for (unsigned i = 0; i < 21; ++i)
        regions.push_back(must(to->allocate(40 + 20 * (i % 7), i % 5 == 4 ? "" : fmt::format("region {}", i))));
    std::vector<std::byte> payload(200);
    for (std::size_t i = 0; i < payload.size(); ++i)
        payload[i] = static_cast<std::byte>(i * 37 + 11);
    // In turns, so that in merged order damage in one region lies between entries of others. Some are full before the
    // end.
    for (unsigned round = 0; round < 4; ++round)
        for (unsigned i = 0; i < regions.size(); ++i)
            if (round <= i % 4)
                (void)to->append(regions[i], std::span(payload).subspan(round, (i * 5 + round) % 20));
    const region large = must(to->allocate(700, "large"));
    must(to->append(large, std::span(payload).first(150)));
    must(to->append(large, {}));
    auto given_up = must(to->reserve(large, 13));
    std::fill(given_up.payload().begin(), given_up.payload().end(), std::byte{0xcd});
    (void)to->abandon(std::move(given_up));
    const std::vector<std::span<const std::byte>> batch = {
        std::span(payload).first(5), {}, std::span(payload).first(31)};
    must(to->append_batch(large, batch));
    must(to->append(regions[6], std::span(payload).first(1)));
    must(to->append(large, std::span(payload).first(3)));
    if (!to->free(regions[3]) || !to->close())
        throw std::runtime_error("ending the small stream");
}

std::unique_ptr<writer> make_stream_in_use(const std::filesystem::path& file) {
    make_small_stream(file);
    auto opened = must(writer::open(file, {.control_mode = {}, .without_control = true}));
    const region large = must(opened->find("large"));
    const std::array<std::byte, 20> payload{};
    for (int i = 0; i < 4; ++i)
        (void)must(opened->append(large, payload));
    return opened;
}

}  // namespace pmemstream::test
