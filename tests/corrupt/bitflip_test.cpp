#include "tests/corrupt/effectless_bytes.hpp"
#include "tests/corrupt/stream_image.hpp"
#include "tests/support/stream_dump.hpp"
#include "tests/support/temp_dir.hpp"

#include "src/format/layout.hpp"

#include <pmemstream/writer.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>

using namespace pmemstream;
using namespace pmemstream::test;

namespace {

enum class outcome : std::uint8_t { equal, prefix, refused, wrong };

bool is_damage(errc code) {
    return code == errc::corrupt || code == errc::truncated || code == errc::unsupported_format ||
           code == errc::not_a_stream;
}

outcome classify(const stream_dump& got, const stream_dump& original) {
    if (got.refused)
        return is_damage(got.refused->code()) ? outcome::refused : outcome::wrong;
    if (!got.ended)
        return same_and_whole(got, original) ? outcome::equal : outcome::wrong;
    const bool true_prefix = got.entries.size() < original.entries.size() &&
                             std::equal(got.entries.begin(), got.entries.end(), original.entries.begin());
    return got.ended->code() == errc::corrupt && true_prefix && same_regions(got, original) ? outcome::prefix
                                                                                            : outcome::wrong;
}

/// One row of the printed table.
struct tally {
    std::uint64_t bits = 0;  // that a run without a stride flips
    std::uint64_t flips = 0;
    std::array<std::uint64_t, 4> by_outcome{};
    std::uint64_t unused = 0;
    std::uint64_t advisory = 0;
    std::uint64_t writer_opened = 0;
    std::uint64_t writer_refused = 0;
};

struct complaints {
    std::vector<std::string> all;
    template <class... Args>
    void add(fmt::format_string<Args...> text, Args&&... args) {
        all.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    void check_none() const {
        for (std::size_t i = 0; i < std::min<std::size_t>(all.size(), 20); ++i)
            FAIL_CHECK(all[i]);
        CHECK(all.size() == 0);
    }
};

std::string why(const stream_dump& dump) {
    return dump.refused ? dump.refused->message() : dump.ended ? dump.ended->message() : "no error";
}

void print(const std::map<std::string, tally>& rows) {
    fmt::print("{:<20} {:>7} {:>8} {:>8} {:>8} | {:>7} {:>8} | {:>7} {:>7}\n", "struct", "flips", "equal", "prefix",
               "refused", "unused", "advisory", "opened", "refused");
    tally sum;
    const auto line = [](const std::string& name, const tally& t) {
        fmt::print("{:<20} {:>7} {:>8} {:>8} {:>8} | {:>7} {:>8} | {:>7} {:>7}\n", name, t.flips, t.by_outcome[0],
                   t.by_outcome[1], t.by_outcome[2], t.unused, t.advisory, t.writer_opened, t.writer_refused);
    };
    for (const auto& [name, t] : rows) {
        line(name, t);
        sum.flips += t.flips;
        for (std::size_t i = 0; i < sum.by_outcome.size(); ++i)
            sum.by_outcome[i] += t.by_outcome[i];
        sum.unused += t.unused;
        sum.advisory += t.advisory;
        sum.writer_opened += t.writer_opened;
        sum.writer_refused += t.writer_refused;
    }
    line("all", sum);
}

/// Bytes of which one bit each is enough: there are many of them, and all are the same to everybody.
bool thinned(const std::string& structure) {
    return structure == "superblock page" || structure == "region tail" || structure == "free blocks";
}

/// The stream without all but two of its free slots: one that was used, and one that never was.
std::vector<piece> without_most_free_slots(const std::vector<piece>& all, std::span<const std::byte> image) {
    std::vector<piece> kept;
    std::set<bool> seen;
    for (const auto& p : all)
        if (p.structure != "free region_slot" || seen.insert(image[p.begin + 1] != std::byte{0}).second)
            kept.push_back(p);
    return kept;
}

class flipper {
public:
    flipper() : dir_(), image_(make()), file_(dir_ / "flipped", image_), copy_(dir_ / "copy", image_) {
        own_image_ = image_;
        // As if the copy were the stream itself, so that the row "a process died" can be met too.
        put(own_image_, format::header_offset + offsetof(format::identity_line, st_dev), copy_.device());
        put(own_image_, format::header_offset + offsetof(format::identity_line, st_ino), copy_.inode());
        original_ = dump_merged(file_.path());
    }

    [[nodiscard]] const stream_dump& original() const { return original_; }
    [[nodiscard]] const std::vector<std::byte>& image() const { return image_; }

    stream_dump read(std::uint64_t offset, std::byte mask) {
        file_.put(offset, image_[offset] ^ mask);
        auto got = dump_merged(file_.path());
        file_.put(offset, image_[offset]);
        return got;
    }

    /// A writer opens the flipped stream. It either refuses and changes nothing, or loses nothing.
    void write(const piece& where, std::uint64_t offset, std::byte mask, const stream_dump& read, tally& counts,
               complaints& problems) {
        const bool identity = where.structure == "identity_line";
        open_writer(own_image_, where, offset, mask, read, identity, counts, problems);
        if (identity)
            open_writer(image_, where, offset, mask, read, identity, counts, problems);
    }

    std::set<recovery_report::state> rows_met;

private:
    std::vector<std::byte> make() {
        make_small_stream(dir_ / "small");
        return read_file(dir_ / "small");
    }

    static void put(std::vector<std::byte>& image, std::uint64_t offset, std::uint64_t value) {
        std::memcpy(image.data() + offset, &value, sizeof value);
    }

    void open_writer(std::vector<std::byte>& image, const piece& where, std::uint64_t offset, std::byte mask,
                     const stream_dump& read, bool append, tally& counts, complaints& problems) {
        image[offset] ^= mask;
        copy_.reset(image);
        const auto here = [&] {
            return fmt::format("{} byte {} (file offset {}) mask {:02x}", where.structure, offset - where.begin, offset,
                               std::to_integer<unsigned>(mask));
        };
        auto opened = writer::open(copy_.path(), {.control_mode = {}, .without_control = true});
        if (!opened) {
            ++counts.writer_refused;
            if (!is_damage(opened.error().code()))
                problems.add("{}: the writer answers {}", here(), opened.error().message());
            if (!copy_.holds(image))
                problems.add("{}: the writer refused the stream, and changed it", here());
            if (!read.refused && !read.ended)
                problems.add("{}: a reader reads what the writer refuses: {}", here(), opened.error().message());
            image[offset] ^= mask;
            return;
        }
        image[offset] ^= mask;
        ++counts.writer_opened;
        rows_met.insert((*opened)->recovery().found);
        const auto more = append_one(**opened, append);
        if (auto closed = (*opened)->close(); !closed)
            problems.add("{}: closing: {}", here(), closed.error().message());
        auto after = dump_merged(copy_.path());
        if (append && after.whole() && !after.entries.empty() && after.entries.back() == more) {
            after.entries.pop_back();
            after.regions = read.regions;
        } else if (append) {
            problems.add("{}: an entry appended then is not the last one: {}", here(), why(after));
        }
        const bool same = read.whole() ? same_and_whole(after, read)
                                       : classify(after, original_) == outcome::prefix && after.entries == read.entries;
        if (!same || read.refused)
            problems.add("{}: reads differently after a writer opened it: before {} entries, {}; then {} entries, {}",
                         here(), read.entries.size(), why(read), after.entries.size(), why(after));
    }

    dumped_entry append_one(writer& to, bool append) {
        dumped_entry made;
        if (!append)
            return made;
        made.where = original_.regions.back().handle;
        made.payload = {std::byte{'n'}, std::byte{'e'}, std::byte{'w'}};
        if (auto info = to.describe(made.where))
            made.offset = info->committed_end;
        if (auto got = to.append(made.where, made.payload))
            made.sequence = *got;
        return made;
    }

    temp_dir dir_;
    std::vector<std::byte> image_;
    std::vector<std::byte> own_image_;
    scratch_file file_;
    scratch_file copy_;
    stream_dump original_;
};

}  // namespace

TEST_CASE(
    "every flipped bit of a closed stream is noticed, or stands where the format page says that it has no effect") {
    const effectless_bytes page(PMEMSTREAM_FORMAT_PAGE);
    flipper stream;
    const auto& image = stream.image();
    REQUIRE(stream.original().whole());
    REQUIRE(stream.original().regions.size() == 21);
    REQUIRE(stream.original().entries.size() > 35);
    const auto pieces = pieces_of(image);

    // Every byte of the file is in one piece.
    std::vector<int> covered(image.size(), 0);
    for (const auto& p : pieces)
        for (std::uint64_t i = p.structure == "superblock page" ? sizeof(format::superblock) : p.begin; i < p.end; ++i)
            ++covered[i];
    REQUIRE(std::all_of(covered.begin(), covered.end(), [](int count) { return count == 1; }));

    const std::uint64_t seed = seed_from_environment();
    const std::uint64_t stride = std::max<std::uint64_t>(1, 100 / scaled(100));  // 1: every bit
    fmt::print("seed {}, every {}. bit of {} bytes\n", seed, stride, image.size());
    std::map<std::string, tally> rows;
    complaints problems;
    std::uint64_t bit_number = seed % stride;
    for (const auto& p : without_most_free_slots(pieces, image)) {
        const bool sector = p.structure == "superblock page";
        for (std::uint64_t offset = sector ? sizeof(format::superblock) : p.begin; offset < p.end; ++offset) {
            for (unsigned bit = 0; bit < 8; ++bit) {
                if (thinned(p.structure) && bit != offset % 8)
                    continue;
                auto& counts = rows[p.structure];
                ++counts.bits;
                if (++bit_number % stride != 0)
                    continue;
                const auto mask = static_cast<std::byte>(1u << bit);
                const auto got = stream.read(offset, mask);
                const auto what = classify(got, stream.original());
                const auto listed = page.of(p.structure, offset - p.begin);
                ++counts.flips;
                ++counts.by_outcome[static_cast<std::size_t>(what)];
                counts.unused += what == outcome::equal && listed == effectless_bytes::kind::unused;
                counts.advisory += what == outcome::equal && listed == effectless_bytes::kind::advisory;
                const bool may_be_silent = listed != effectless_bytes::kind::none;
                if (what == outcome::wrong)
                    problems.add("{} byte {} (file offset {}) bit {}: {} entries, then {}", p.structure,
                                 offset - p.begin, offset, bit, got.entries.size(), why(got));
                else if ((what == outcome::equal) != may_be_silent)
                    problems.add("{} byte {} (file offset {}) bit {}: {}, but the page says otherwise; {}", p.structure,
                                 offset - p.begin, offset, bit,
                                 what == outcome::equal ? "without effect" : "not without effect", why(got));
                if (p.structure == "entry payload" && what != outcome::prefix)
                    problems.add("payload at {}: {}", offset, why(got));
                stream.write(p, offset, mask, got, counts, problems);
            }
        }
    }
    print(rows);
    problems.check_none();

    std::uint64_t bits = 0, flips = 0;
    for (const auto& [name, counts] : rows) {
        bits += counts.bits;
        flips += counts.flips;
    }
    CHECK(flips == (seed % stride + bits) / stride);
    // A stride hits a structure in several places once more or less in each; so its bits are counted, not its flips.
    const auto count = [&](const char* structure) { return rows[structure].bits; };
    CHECK(count("superblock") == sizeof(format::superblock) * 8);
    CHECK(count("superblock page") == format::header_offset - sizeof(format::superblock));
    CHECK(count("slot_cold") == 21 * 1024);
    CHECK(count("free region_slot") == 2 * 3072);
    CHECK(count("entry_header") > 35 * 128);
    CHECK(count("entry padding") > 100);
    CHECK(count("filler payload") > 100);
    CHECK(stream.rows_met.size() == 1);  // no flipped bit makes it look like one that was not closed
}

TEST_CASE("no flipped bit of a stream that was not closed shows anything that nobody appended") {
    const temp_dir dir;
    const auto opened = make_stream_in_use(dir / "small");
    const auto image = read_file(dir / "small");
    const scratch_file file(dir / "flipped", image);
    const auto original = dump_merged(file.path());
    REQUIRE(original.whole());

    const std::uint64_t seed = seed_from_environment();
    const std::uint64_t stride = std::max<std::uint64_t>(3, 300 / scaled(100));
    std::uint64_t bits = 0, flips = 0, silent = 0, shorter = 0;
    complaints problems;
    std::uint64_t bit_number = seed % stride;
    for (const auto& p : pieces_of(image)) {
        if (p.structure == "free region_slot" || thinned(p.structure))
            continue;
        for (std::uint64_t bit = p.begin * 8; bit < p.end * 8; ++bit) {
            ++bits;
            if (++bit_number % stride != 0)
                continue;
            const std::uint64_t offset = bit / 8;
            file.put(offset, image[offset] ^ static_cast<std::byte>(1u << bit % 8));
            const auto got = dump_merged(file.path());
            file.put(offset, image[offset]);
            ++flips;
            silent += got.whole() && got.entries.size() == original.entries.size();
            shorter += got.whole() && got.entries.size() < original.entries.size();
            const bool true_entries = std::includes(
                original.entries.begin(), original.entries.end(), got.entries.begin(), got.entries.end(),
                [](const dumped_entry& a, const dumped_entry& b) {
                    return std::tie(a.sequence, a.offset, a.payload) < std::tie(b.sequence, b.offset, b.payload);
                });
            const bool fine = got.refused ? is_damage(got.refused->code()) : !got.ended || is_damage(got.ended->code());
            if (!true_entries || !fine)
                problems.add("{} byte {} (file offset {}) bit {}: {} entries, then {}", p.structure, offset - p.begin,
                             offset, bit % 8, got.entries.size(), why(got));
        }
    }
    fmt::print("seed {}: {} flips of a stream in use: {} without effect, {} hide committed entries\n", seed, flips,
               silent, shorter);
    problems.check_none();
    CHECK(bits > 6000);
    CHECK(flips == (seed % stride + bits) / stride);
}
