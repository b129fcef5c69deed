#include "tools/salvage/destination.hpp"

#include "src/base/checked.hpp"
#include "tools/common/exit_code.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <set>
#include <system_error>

namespace pmemstream::tools {

namespace {

/// More is not gathered in memory but written in place.
constexpr std::uint64_t small_bytes = 1 << 20;

/// What the new stream needs for its regions, a table that grows included.
std::uint64_t bytes_for(const survey& seen) {
    const std::uint64_t block = seen.block_bytes;
    std::uint64_t bytes = base::round_up(format::first_slots_offset + 8 * sizeof(format::region_slot), block);
    for (const auto& region : seen.regions) {
        // Where no head was found the new region has one all the same, and a name may be longer in it.
        bytes +=
            base::round_up(region.extent_bytes + region_overhead_bytes(std::string(region_name_bytes_max, ' ')), block);
        if (bytes > format::stream_bytes_max)
            fail(exit_code::corrupt, "the regions claim more bytes than any stream can have");
    }
    // The table grows by what it has, in whole blocks: it may have twice as many slots as are needed.
    const std::uint64_t slots = 2 * seen.regions.size() + 32;
    bytes += slots * sizeof(format::region_slot) + (slots / 16 + 1) * (sizeof(format::segment_header) + block);
    return std::max(bytes, seen.stream_bytes);
}

/// What its entries can take.
std::uint64_t entry_bytes_of(const found_region& region) {
    const std::uint64_t head = region.head ? format::entry_bytes(*format::head_payload_bytes(*region.head)) : 0;
    return region.extent_bytes - sizeof(format::extent_header) - head;
}

region_attributes attributes_of(const found_region& region) {
    region_attributes all;
    if (!region.head)
        return all;
    for (const auto& attribute : region.head->attributes) {
        if (attribute.kind == format::attribute_kind::content_type)
            all.content_type = attribute.value;
        else if (attribute.kind == format::attribute_kind::user)
            all.values.emplace_back(attribute.key, attribute.value);
    }
    return all;
}

std::string unique_name(const found_region& region, std::set<std::string>& used) {
    const std::string wanted = region.name.value_or(fmt::format("salvaged-{}", region.generation));
    if (wanted.empty())
        return wanted;
    std::string name = wanted;
    for (unsigned i = 2; !used.insert(name).second; ++i)
        name = fmt::format("{}~{}", wanted.substr(0, region_name_bytes_max - 8), i);
    return name;
}

/// The bytes were read again: they may have changed since the entry was found whole.
bool still_verifies(const entry_walk::item& item, std::uint32_t payload_state) {
    return format::matching_epoch(item.header, payload_state, item.offset, {item.epoch, item.epoch}) != 0;
}

void refuse_existing(const std::filesystem::path& out) {
    if (struct stat st{}; ::lstat(out.c_str(), &st) == 0)
        fail(exit_code::io, "{}: is there already; nothing was changed", out.string());
}

}  // namespace

destination::destination(const std::filesystem::path& out, const survey& seen, salvage_report& report)
    : out_(out), report_(report) {
    refuse_existing(out);
    const auto temporary = out.parent_path() / fmt::format(".{}.{}.salvaging", out.filename().string(), ::getpid());
    need(create(temporary, {.stream_bytes = bytes_for(seen), .block_bytes = seen.block_bytes}));
    temporary_ = temporary;
    try {
        to_ = need(writer::open(temporary_, {.without_control = true}));
        std::set<std::string> used;
        for (std::size_t i = 0; i < seen.regions.size(); ++i) {
            auto& about = report.regions[i];
            about.name = unique_name(seen.regions[i], used);
            regions_.push_back(
                need(to_->allocate(entry_bytes_of(seen.regions[i]), about.name, attributes_of(seen.regions[i]))));
        }
        report.stream_bytes = to_->info().stream_bytes;
    } catch (...) {
        (void)::unlink(temporary_.c_str());
        throw;
    }
}

destination::~destination() {
    if (!temporary_.empty())
        (void)::unlink(temporary_.c_str());
}

bool destination::append(std::size_t region, const media& from, const region_source& source) {
    const auto& items = source.unit();
    const auto where = regions_[region];
    const bool done = items.size() > 1 ? append_batch(where, from, items, source.crc_seed())
                                       : append_one(where, from, items.front(), source.crc_seed());
    if (!done)
        return false;
    auto& about = report_.regions[region];
    about.entries += items.size();
    about.batches += items.size() > 1 ? 1 : 0;
    for (const auto& item : items)
        about.payload_bytes += item.header.payload_bytes;
    if (about.old_first == 0) {
        about.old_first = items.front().sequence();
        about.new_first = to_uint(newest_) - items.size() + 1;
    }
    about.old_last = items.back().sequence();
    about.new_last = to_uint(newest_);
    return true;
}

bool destination::append_one(region where, const media& from, const entry_walk::item& item, std::uint32_t seed) {
    if (item.header.payload_bytes > small_bytes)
        return append_large(where, from, item, seed);
    buffer_.resize(sizeof item.header + item.header.payload_bytes);
    from.read(item.offset, buffer_);
    if (!still_verifies(item,
                        format::payload_crc_state(buffer_.data(), item.header.payload_bytes, item.header.meta, seed)))
        return false;
    newest_ = need(to_->append(where, std::span(buffer_).subspan(sizeof item.header)));
    return true;
}

bool destination::append_large(region where, const media& from, const entry_walk::item& item, std::uint32_t seed) {
    auto place = need(to_->reserve(where, item.header.payload_bytes));
    from.read(item.offset + sizeof item.header, place.payload());
    if (!still_verifies(item, base::crc32c_extend(seed, place.payload().data(), place.payload().size()))) {
        need(to_->abandon(std::move(place)));
        return false;
    }
    newest_ = need(to_->publish(std::move(place)));
    return true;
}

bool destination::append_batch(region where, const media& from, const std::vector<entry_walk::item>& items,
                               std::uint32_t seed) {
    const std::uint64_t begin = items.front().offset;
    buffer_.resize(items.back().end() - begin);
    from.read(begin, buffer_);
    std::vector<std::span<const std::byte>> payloads;
    for (const auto& item : items) {
        const std::byte* const entry = buffer_.data() + (item.offset - begin);
        if (!still_verifies(item, format::payload_crc_state(entry, item.header.payload_bytes, item.header.meta, seed)))
            return false;
        payloads.emplace_back(entry + sizeof item.header, item.header.payload_bytes);
    }
    newest_ = need(to_->append_batch(where, payloads));
    return true;
}

void destination::finish() {
    need(to_->close());
    to_.reset();
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, out_.c_str(), RENAME_NOREPLACE) != 0) {
        const int why = errno;
        if (why == EEXIST)
            refuse_existing(out_);
        fail(exit_code::io, "{}: giving the new stream its name: {}", out_.string(),
             std::generic_category().message(why));
    }
    temporary_.clear();
    const auto directory = out_.has_parent_path() ? out_.parent_path() : std::filesystem::path(".");
    const base::unique_fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0)
        fail(exit_code::io, "{}: making its name durable: {}", out_.string(), std::generic_category().message(errno));
}

}  // namespace pmemstream::tools
