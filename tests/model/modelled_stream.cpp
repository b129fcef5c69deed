#include "tests/model/modelled_stream.hpp"

#include "src/format/layout.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/require.hpp"

#include <sys/stat.h>
#include <algorithm>
#include <array>
#include <filesystem>
#include <span>
#include <utility>

namespace pmemstream::test {

namespace {
constexpr std::uint64_t entry_bytes(std::size_t payload_bytes) {
    return 16 + (payload_bytes + 7) / 8 * 8;
}
}  // namespace

const char* to_string(step_kind kind) noexcept {
    static constexpr std::array<const char*, static_cast<std::size_t>(step_kind::count)> names = {
        "append", "batch",  "reserve",      "publish",       "abandon",      "allocate", "free",
        "clear",  "reopen", "process dies", "power is lost", "tail is torn", "follow",   "compare"};
    return names[static_cast<std::size_t>(kind)];
}

modelled_stream::modelled_stream(std::uint64_t stream_bytes, std::uint64_t block_bytes, step_counts& counts)
    : stream_(stream_bytes, block_bytes), counts_(counts), block_bytes_(block_bytes) {
    metadata_bytes_ = stream_bytes - stream_.read().info().free_bytes;
    open(recovery_report::state::clean);
}

modelled_stream::~modelled_stream() {
    drop_claims();
}

void modelled_stream::open(recovery_report::state expected) {
    writer_ = stream_.write();
    require(writer_->recovery().found == expected, "an opening found the state {}, not {}",
            static_cast<int>(writer_->recovery().found), static_cast<int>(expected));
    ++counts_.openings;
    counts_.rescans += expected == recovery_report::state::rescanned ? 1 : 0;
}

void modelled_stream::take(const step& what) {
    ++counts_.steps;
    switch (what.kind) {
        case step_kind::append:
            append(what);
            break;
        case step_kind::batch:
            append_batch(what);
            break;
        case step_kind::reserve:
            reserve(what);
            break;
        case step_kind::publish:
            settle_claim(what, true);
            break;
        case step_kind::abandon:
            settle_claim(what, false);
            break;
        case step_kind::allocate:
            allocate(what);
            break;
        case step_kind::free:
            free(what);
            break;
        case step_kind::clear:
            clear(what);
            break;
        case step_kind::reopen:
            must(writer_->close());
            drop_claims();
            open(recovery_report::state::clean);
            break;
        case step_kind::process_dies:
        case step_kind::power_is_lost:
        case step_kind::tail_is_torn:
            crash(what);
            break;
        case step_kind::follow:
            follow();
            break;
        case step_kind::compare:
        case step_kind::count:
            compare();
            break;
    }
}

void modelled_stream::end() {
    follow();
    compare();
    take({step_kind::reopen});
    compare();
    follow();
}

std::vector<std::byte> modelled_stream::payload_for(std::uint32_t size) {
    // Boundary sizes often, the rest up to a few blocks.
    static constexpr std::size_t often[] = {0, 1, 7, 8, 9, 48, 64};
    const std::size_t bytes = size % 2 == 0 ? often[size / 2 % std::size(often)] : size / 2 % 700;
    return numbered_payload(99, ++numbers_, bytes);
}

modelled_stream::model_region* modelled_stream::any(std::uint32_t which) {
    return regions_.empty() ? nullptr : &regions_[which % regions_.size()];
}

void modelled_stream::expect_refusal(const std::string& code, const std::string& expected) {
    require(code == expected, "the answer is {}, not {}", code, expected);
    ++(expected == "region_full" ? counts_.full : counts_.refused);
}

std::uint64_t modelled_stream::given(std::uint64_t sequence) {
    require(sequence > newest_, "sequence {} after {}", sequence, newest_);
    require(to_uint(writer_->info().committed) == sequence, "committed is not the sequence just given");
    ++counts_.entries;
    return newest_ = sequence;
}

void modelled_stream::append(const step& what) {
    auto* const to = any(what.which);
    if (to == nullptr)
        return;
    auto payload = payload_for(what.size);
    const auto got = writer_->append(to->handle, payload);
    if (!to->claims.empty())
        return expect_refusal(code_of(got), "reservation_open");
    if (entry_bytes(payload.size()) > to->size_bytes - to->used_bytes)
        return expect_refusal(code_of(got), "region_full");
    require(got.has_value(), "append: {}", message_of(got));
    to->used_bytes += entry_bytes(payload.size());
    to->claimed_bytes = to->used_bytes;
    to->entries.push_back({std::move(payload), given(to_uint(*got)), ++batches_});
}

void modelled_stream::append_batch(const step& what) {
    auto* const to = any(what.which);
    if (to == nullptr)
        return;
    std::vector<std::vector<std::byte>> payloads;
    std::uint64_t bytes = 0;
    for (std::uint32_t i = 0; i < what.more % 6; ++i) {
        payloads.push_back(payload_for(what.size + i));
        bytes += entry_bytes(payloads.back().size());
    }
    const std::vector<std::span<const std::byte>> spans(payloads.begin(), payloads.end());
    const auto got = writer_->append_batch(to->handle, spans);
    if (spans.empty())
        return expect_refusal(code_of(got), "invalid_argument");
    if (!to->claims.empty())
        return expect_refusal(code_of(got), "reservation_open");
    if (bytes > to->size_bytes - to->used_bytes)
        return expect_refusal(code_of(got), "region_full");
    require(got.has_value(), "append_batch: {}", message_of(got));
    const std::uint64_t last = to_uint(*got), count = payloads.size();
    require(last - count + 1 > newest_, "a batch got sequences up to {} after {}", last, newest_);
    ++batches_;
    for (std::uint64_t i = 0; i < count; ++i)
        to->entries.push_back({std::move(payloads[i]), last - count + 1 + i, batches_});
    counts_.entries += count - 1;
    given(last);
    to->used_bytes += bytes;
    to->claimed_bytes = to->used_bytes;
}

void modelled_stream::reserve(const step& what) {
    auto* const to = any(what.which);
    if (to == nullptr)
        return;
    auto payload = payload_for(what.size);
    auto got = writer_->reserve(to->handle, payload.size());
    if (entry_bytes(payload.size()) > to->size_bytes - to->claimed_bytes)
        return expect_refusal(code_of(got), "region_full");
    if (to->claims.size() == 64)
        return expect_refusal(code_of(got), "exhausted");
    require(got.has_value(), "reserve: {}", message_of(got));
    std::ranges::copy(payload, got->payload().begin());
    to->claimed_bytes += entry_bytes(payload.size());
    to->claims.push_back({std::move(payload), std::move(*got)});
}

void modelled_stream::settle_claim(const step& what, bool publish) {
    std::vector<std::pair<model_region*, std::size_t>> open;
    for (auto& r : regions_)
        for (std::size_t i = 0; i < r.claims.size(); ++i)
            if (r.claims[i].now == model_claim::state::open)
                open.emplace_back(&r, i);
    if (open.empty())
        return;
    auto* const to = open[what.more % open.size()].first;
    auto& chosen = to->claims[open[what.more % open.size()].second];
    chosen.now = publish ? model_claim::state::published : model_claim::state::abandoned;
    std::uint64_t newest = 0;
    if (publish)
        newest = to_uint(must(writer_->publish(std::move(chosen.held))));
    else
        must(writer_->abandon(std::move(chosen.held)));

    // What it completes is committed, in the order of the claims.
    auto next = to->claims.begin();
    for (; next != to->claims.end() && next->now != model_claim::state::open; ++next) {
        to->used_bytes += entry_bytes(next->payload.size());
        if (next->now == model_claim::state::abandoned) {
            ++counts_.fillers;
            continue;
        }
        ++counts_.entries;
        to->entries.push_back({std::move(next->payload), ++newest_, ++batches_});
    }
    to->claims.erase(to->claims.begin(), next);
    require(to_uint(writer_->info().committed) == newest_, "committed {}, not {}", to_uint(writer_->info().committed),
            newest_);
    require(!publish || to->entries.empty() || newest == to->entries.back().sequence, "publish answers sequence {}",
            newest);
}

void modelled_stream::allocate(const step& what) {
    const std::uint64_t bytes = what.size % 9 == 0 ? what.size % 16 : 16 + what.size * 37 % 9000;
    const std::string name = what.more % 3 == 0 ? "" : "name " + std::to_string(what.more % 8);
    const auto got = writer_->allocate(bytes, name);
    const bool taken = !name.empty() && std::ranges::any_of(regions_, [&](const auto& r) { return r.name == name; });
    if (taken)
        return expect_refusal(code_of(got), "duplicate_name");
    if (bytes < 16)
        return expect_refusal(code_of(got), "too_small");
    const std::uint64_t extent = (bytes + region_overhead_bytes(name) + block_bytes_ - 1) / block_bytes_ * block_bytes_;
    if (!got) {
        require(code_of(got) == "exhausted", "allocate: {}", message_of(got));
        const auto info = writer_->info();
        require(info.largest_free_bytes < extent || info.regions == info.region_slots,
                "allocate found no {} bytes where {} are free in a row", extent, info.largest_free_bytes);
        ++counts_.exhausted;
        return;
    }
    require(got->generation() > newest_generation_, "generation {} after {}", got->generation(), newest_generation_);
    newest_generation_ = got->generation();
    model_region fresh;
    fresh.handle = *got;
    fresh.name = name;
    fresh.size_bytes = extent - region_overhead_bytes(name);
    regions_.push_back(std::move(fresh));
    ++counts_.allocated;
    counts_.regions_most = std::max<std::uint64_t>(counts_.regions_most, regions_.size());
}

/// Freed and cleared regions may have no open reservations, unless forced.
bool modelled_stream::may_go(const model_region& region, const step& what, const std::string& code) {
    const bool refused = what.more % 2 == 0 && !region.claims.empty();
    if (refused)
        expect_refusal(code, "reservation_open");
    else
        require(code == "ok", "free or clear answers {}", code);
    return !refused;
}

void modelled_stream::free(const step& what) {
    auto* const gone = any(what.which);
    if (gone == nullptr)
        return;
    const region handle = gone->handle;
    if (!may_go(*gone, what, code_of(writer_->free(handle, what.more % 2 != 0))))
        return;
    require(code_of(writer_->append(handle, {})) == "region_gone", "a freed region takes an entry");
    regions_.erase(regions_.begin() + (gone - regions_.data()));
    ++counts_.freed;
}

void modelled_stream::clear(const step& what) {
    auto* const emptied = any(what.which);
    if (emptied == nullptr)
        return;
    const region before = emptied->handle;
    const auto cleared = writer_->clear(before, what.more % 2 != 0);
    if (!may_go(*emptied, what, code_of(cleared)))
        return;
    const region now = *cleared;
    require(code_of(writer_->append(before, {})) == "region_gone", "a cleared region's old handle takes an entry");
    require(now.generation() > newest_generation_ && now.index() == before.index(), "a strange handle after clear");
    newest_generation_ = now.generation();
    model_region fresh;
    fresh.handle = now;
    fresh.name = emptied->name;
    fresh.size_bytes = emptied->size_bytes;
    regions_.erase(regions_.begin() + (emptied - regions_.data()));
    regions_.push_back(std::move(fresh));
    ++counts_.cleared;
}

void modelled_stream::drop_claims() {
    for (auto& r : regions_) {
        r.claims.clear();
        r.claimed_bytes = r.used_bytes;
    }
}

/// The file as it is at this moment goes on under its name, in another inode; what the writer still does is lost.
void modelled_stream::crash(const step& what) {
    auto image = read_image(stream_.file);
    if (what.kind == step_kind::tail_is_torn)
        tear(what, image);
    drop_claims();
    writer_.reset();
    cursors_.clear();
    all_.reset();
    reader_.reset();
    const auto copy = stream_.dir / "copy";
    write_image(copy, image);
    if (what.kind == step_kind::process_dies) {
        struct stat st {};
        require(::stat(copy.c_str(), &st) == 0, "no copy");
        poke<std::uint64_t>(copy, format::header_offset + offsetof(format::identity_line, st_ino), st.st_ino);
    }
    std::filesystem::rename(copy, stream_.file);
    open(what.kind == step_kind::process_dies ? recovery_report::state::process_died
                                              : recovery_report::state::rescanned);
}

/// Damages one entry behind the persisted offset; with its batch, it and what follows it must be gone then.
void modelled_stream::tear(const step& what, std::vector<std::byte>& image) {
    auto* const torn = any(what.which);
    if (torn == nullptr || torn->entries.empty())
        return;
    const auto from = stream_.read();
    const auto info = must(from.describe(torn->handle));
    std::vector<std::uint64_t> offsets;
    auto cursor = must(from.follow(torn->handle));
    for (const entry& e : cursor)
        offsets.push_back(to_uint(e.offset()));
    must(cursor.status());
    require(offsets.size() == torn->entries.size(), "{} entries where {} should be", offsets.size(),
            torn->entries.size());
    std::size_t cut = what.more % offsets.size();
    if (offsets[cut] < to_uint(info.persisted_end))
        return;
    image[offsets[cut] + 4] ^= std::byte{0x20};
    while (cut > 0 && torn->entries[cut - 1].batch == torn->entries[cut].batch)
        --cut;
    counts_.cut_entries += torn->entries.size() - cut;
    torn->entries.resize(cut);
    torn->used_bytes = offsets[cut] - to_uint(info.begin);
    torn->claimed_bytes = torn->used_bytes;
}

}  // namespace pmemstream::test
