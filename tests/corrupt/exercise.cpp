#include "tests/corrupt/exercise.hpp"

#include "src/format/entry.hpp"
#include "tests/corrupt/stream_image.hpp"

#include <pmemstream/writer.hpp>

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

namespace pmemstream::test {

namespace {

void count_error(const error& why, const exercise_options& options, progress& seen) {
    ++seen.errors_later;
    switch (why.code()) {
        case errc::io:
            ++seen.io_errors;
            return;
        case errc::not_found:
        case errc::invalid_offset:
            return;
        case errc::corrupt:
        case errc::unsupported_format:
            if (!options.part_lost)
                return;
            break;
        case errc::region_gone:
            if (!options.still && !options.part_lost)
                return;
            break;
        default:
            break;
    }
    complain(seen, "not an error that this damage may have: " + why.message());
}

/// What a cursor showed, held against the file by other code than the cursor's.
class witness {
public:
    witness(const reader& from, bool still) : bytes_(from.info().stream_bytes) {
        if (!still)
            return;
        image_ = read_file(from.info().file);
        uuid_ = from.info().uuid;
    }

    void look_at(const entry& e, bool crc_checked, exercise_options& options, progress& seen) {
        ++seen.entries;
        const std::uint64_t offset = to_uint(e.offset());
        const auto payload = e.payload();
        if (to_uint(e.end()) > bytes_ || offset + 16 + payload.size() > bytes_)
            complain(seen, fmt::format("an entry at {} of {} bytes, outside the stream", offset, payload.size()));
        for (const std::byte b : payload)
            options.touched += std::to_integer<std::uint64_t>(b);
        if (image_.empty())
            return;
        format::entry_header header{};
        std::memcpy(&header, image_.data() + offset, sizeof header);
        if (header.payload_bytes != payload.size() ||
            std::memcmp(payload.data(), image_.data() + offset + 16, payload.size()) != 0)
            complain(seen, fmt::format("the entry at {} is not what the file holds there", offset));
        const auto seed = format::entry_crc_seed(uuid_, e.where().generation());
        const auto state = format::payload_crc_state(image_.data() + offset, header.payload_bytes, header.meta, seed);
        if (crc_checked &&
            format::matching_epoch(header, state, offset, format::epochs_of(header.meta, 0, format::epoch_max)) == 0)
            complain(seen, fmt::format("the entry at {} does not verify", offset));
        if (!e.valid())
            complain(seen, fmt::format("the entry at {} is not valid", offset));
    }

private:
    std::uint64_t bytes_;
    std::vector<std::byte> image_;
    uuid uuid_{};
};

template <class Cursor>
void walk(result<Cursor> from, bool crc_checked, witness& file, exercise_options& options, progress& seen) {
    if (!from)
        return count_error(from.error(), options, seen);
    options.touched += from->lag().bytes;
    std::uint64_t last = 0;
    // No stream of these tests has room for as many: a cursor that gives more goes in circles.
    constexpr int entries_max = 1 << 20;
    for (int i = 0; i < entries_max; ++i) {
        auto got = from->next();
        if (!got)
            return count_error(got.error(), options, seen);
        if (!*got)
            return;
        file.look_at(**got, crc_checked, options, seen);
        if (options.still && to_uint((*got)->sequence()) < last)
            complain(seen, fmt::format("sequence {} after {}", to_uint((*got)->sequence()), last));
        last = to_uint((*got)->sequence());
        if (i % 8 == 0) {
            std::vector<std::byte> copy;
            if (auto read = (*got)->read_into(copy); !read)
                count_error(read.error(), options, seen);
        }
    }
    complain(seen, "a cursor that does not end");
}

}  // namespace

void complain(progress& seen, const std::string& what) {
    if (++seen.complaints <= 10)
        std::fprintf(stderr, "case %llu: %s\n", static_cast<unsigned long long>(seen.cases), what.c_str());
}

void exercise_reader(const reader& from, std::mt19937_64& random, exercise_options& options, progress& seen) {
    witness file(from, options.still);
    const bool crc = random() % 4 != 0;
    walk(from.follow_all({.check_crc = crc, .registered = false}), crc, file, options, seen);
    options.touched += from.info().free_bytes + to_uint(from.committed()) + from.writer().epoch;
    if (auto extents = from.extents(); !extents)
        count_error(extents.error(), options, seen);
    for (const char* name : {"large", "region 0", "none"})
        if (auto found = from.find(name); !found) {
            count_error(found.error(), options, seen);
            // Zeros in place of a table are no reason to say that a region is not there.
            if (options.part_lost && found.error().code() == errc::not_found && name != std::string_view("none"))
                complain(seen, "a region that is lost is said not to be there: " + found.error().message());
        }
    auto regions = from.regions();
    if (!regions)
        return count_error(regions.error(), options, seen);
    for (const auto& region : *regions) {
        cursor_options how{.check_crc = random() % 2 == 0, .registered = false};
        switch (random() % 4) {
            case 0:
                how.start = after{sequence{random() % 64}};
                break;
            case 1:
                how.start = at_offset{offset{to_uint(region.begin) + 8 * (random() % 16)}};
                break;
            case 2:
                how.start = from_newest{};
                break;
            default:
                break;
        }
        walk(from.follow(region.handle, how), how.check_crc, file, options, seen);
    }
}

void exercise_file(const std::filesystem::path& file, std::mt19937_64& random, exercise_options& options,
                   progress& seen) {
    ++seen.cases;
    auto opened = reader::open(file, {.name = {}, .without_control = true});
    if (opened)
        return exercise_reader(*opened, random, options, seen);
    ++seen.refused_at_open;
    switch (opened.error().code()) {
        case errc::corrupt:
        case errc::truncated:
        case errc::not_a_stream:
        case errc::unsupported_format:
            return;
        default:
            complain(seen, "not an error that open may have: " + opened.error().message());
    }
}

void exercise_writer(const std::filesystem::path& file, std::mt19937_64& random, progress& seen) {
    auto opened = writer::open(file, {.control_mode = {}, .without_control = true});
    if (!opened)
        return;
    ++seen.opened_by_writer;
    auto& to = **opened;
    const std::array<std::byte, 24> payload{std::byte{0x5a}};
    auto regions = to.regions();
    if (!regions)
        return complain(seen, "a writer that cannot list its regions: " + regions.error().message());
    std::vector<std::pair<region, offset>> appended;
    for (const auto& r : *regions) {
        const auto end = to.describe(r.handle);
        if (!end)
            complain(seen, "a writer that cannot describe its region: " + end.error().message());
        else if (to.append(r.handle, payload))
            appended.emplace_back(r.handle, end->committed_end);
    }
    if (!regions->empty()) {
        (void)to.clear(regions->front().handle);
        (void)to.free(regions->back().handle);
    }
    for (int i = 0; i < 3; ++i)
        if (auto made = to.allocate(16 + random() % 300))
            if (auto got = to.append(*made, {}); !got && got.error().code() != errc::exhausted)  // of sequences
                complain(seen, "a new region takes no entry: " + got.error().message());
    (void)to.close();
    opened->reset();

    auto again = reader::open(file, {.name = {}, .without_control = true});
    if (!again)
        return complain(seen, "what a writer closed cannot be opened: " + again.error().message());
    if (auto listed = again->regions(); !listed)
        complain(seen, "what a writer closed cannot be listed: " + listed.error().message());
    for (const auto& [where, at] : appended) {
        auto from = again->follow(where, {.start = at_offset{at}, .check_crc = true, .registered = false});
        if (!from) {
            if (from.error().code() != errc::region_gone)  // cleared or freed above
                complain(seen, "what was appended is not there: " + from.error().message());
            continue;
        }
        auto got = from->next();
        if (!got)
            complain(seen, "what was appended is damaged: " + got.error().message());
        else if (!*got || !std::ranges::equal((*got)->payload(), payload))
            complain(seen, fmt::format("what was appended at {} is not what is read", to_uint(at)));
    }
}

}  // namespace pmemstream::test
