#include "tests/crash/enumerator/explorer.hpp"

#include "src/format/features.hpp"
#include "src/format/words.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/require.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace pmemstream::test {

namespace {

const char* name_of(trace_event::kind what) {
    static constexpr const char* names[] = {"store", "seen", "write", "flush", "drain", "sync", "return"};
    return names[static_cast<unsigned>(what)];
}

/// A creation has not come to its last store.
bool is_unborn(const image& content) {
    return word_at(content, 0) == 0;
}

}  // namespace

explorer::explorer(const std::filesystem::path& directory, const std::filesystem::path& scratch, std::uint64_t bytes,
                   recorder& recorder)
    : recorder_(recorder) {
    for (std::size_t i = 0; i <= crashes_max; ++i)
        files_.push_back(std::make_unique<mapped_file>(directory / fmt::format("recorded_{}", i), bytes));
    check_file_ = std::make_unique<mapped_file>(scratch / "checked", bytes);
}

void explorer::explore(const recording& what, std::uint64_t seed, std::size_t depth, bool deaths) {
    random_.seed(seed);
    const auto& happened = what.happened;
    lossy_medium medium(happened.base, limits.unit_bytes);
    promise_watch promises(happened.base);
    std::uint64_t memory_hash = image_hash(happened.base);
    for (const auto& event : happened.events) {
        if (event.what == trace_event::kind::mark)
            uncounted_.insert(memory_hash);
        if (is_store(event)) {
            memory_hash += word_hash(event.offset, event.value) -
                           word_hash(event.offset, word_at(promises.memory(), event.offset));
        }
        (void)promises.apply(event);
    }
    promises = promise_watch(happened.base);
    const auto points = static_cast<double>(happened.events.size() - what.from);
    std::uint64_t version = mixed(seed ^ depth);
    for (std::size_t i = 0; i < happened.events.size(); ++i) {
        const auto& event = happened.events[i];
        const bool store = event.what == trace_event::kind::store;
        const bool promised = promises.apply(event) || event.what == trace_event::kind::mark;
        medium.apply(event, happened.written);
        if (i < what.from)
            continue;
        version += promised ? 1 : 0;
        if (store && !promised && i % limits.stores_per_point != 0)
            continue;
        const point at{&what, i, depth, deaths, limits.crashes_again / points, limits.deaths_again / points};
        try {
            if (promised || event.what == trace_event::kind::write)
                lose_power(at, medium, promises, version, std::nullopt);
            else if (store)
                lose_power(at, medium, promises, version,
                           limits.stores_per_point == 1 ? std::optional(medium.unit_of(event)) : std::nullopt);
            if (store && deaths)
                kill(at, promises);
        } catch (const std::exception& e) {
            throw std::runtime_error(fmt::format("{}\n  at event {} of {} ({} at offset {}, {} dirty units)", e.what(),
                                                 i, happened.events.size(), name_of(event.what), event.offset,
                                                 medium.dirty_units()));
        }
    }
}

void explorer::lose_power(const point& at, lossy_medium& medium, const promise_watch& promises, std::uint64_t version,
                          std::optional<std::uint64_t> newest) {
    auto model = at.of->states[state_after(at.of->happened, at.event + 1)];
    promises.add_to(model);
    ++counts_.points;
    counts_.exhaustive += medium.dirty_units() <= limits.exhaustive_units + (newest ? 1 : 0) ? 1 : 0;
    std::optional<image> again;
    std::uint64_t seen = 0;
    const bool crash_one = at.depth + 1 < crashes_max && chance(at.again);
    medium.for_images(newest,
                      {.exhaustive_units = limits.exhaustive_units,
                       .exhaustive_images = limits.exhaustive_images,
                       .samples = limits.samples},
                      random_, [&](const image& content, std::uint64_t hash) {
                          if (!checked_.insert(mixed(hash) + version).second)
                              return;
                          if (!uncounted_.contains(hash) && counted_.insert(hash).second)
                              ++counts_.images;
                          check(*check_file_, content, model, crash::power_lost);
                          if (chance(limits.lost_pages)) {
                              ++counts_.lost_pages;
                              check(*files_[at.depth], content, model, crash::pages_lost);
                          }
                          // Any of them, each as likely as the others.
                          if (crash_one && random_() % ++seen == 0)
                              again = content;
                      });
    if (again && !is_unborn(*again))
        crash_again(at, *again, model);
}

void explorer::kill(const point& at, const promise_watch& promises) {
    auto model = at.of->states[state_after(at.of->happened, at.event + 1)];
    promises.add_to(model);
    ++counts_.deaths;
    const bool opened = at.event >= at.of->opened;
    check(*files_[at.depth], promises.memory(), model, opened ? crash::process_died : crash::power_lost);
    // Before its creation returns, the file has no name under which somebody could open it.
    if (model.call.what != model_call::kind::create && chance(at.death_again))
        go_on_after_death(at);
}

namespace {

/// Whoever opens a stream of a writer that uses a feature finds that feature.
void check_features(const image& content) {
    const auto& raised = format::raised_features;
    format::shared_header header;
    std::memcpy(&header, content.data() + format::header_offset, sizeof header);
    constexpr std::uint64_t epoch_before = 1;  // of the writer that did not use it yet
    if (raised == format::feature_set() || format::epoch_of(header.identity.epoch) <= epoch_before)
        return;
    const auto said = must(format::read_features(header.features, "the image"));
    require(said == raised, "the epoch is {}, and of its writer's features {:#x}, {:#x} and {:#x} are there",
            format::epoch_of(header.identity.epoch), said.compatible, said.read_compatible, said.incompatible);
}

}  // namespace

void explorer::check(mapped_file& on, const image& content, const stream_model& model, crash how) {
    check_features(content);
    on.write(content);
    const auto open = [&] { return writer::open(on.path(), {.control_mode = {}, .without_control = true}); };
    auto opened = open();
    if (is_unborn(content)) {
        require(model.call.what == model_call::kind::create, "a stream without its magic");
        require(code_of(opened) == "not_a_stream", "a file without a magic is opened: {}", code_of(opened));
        return;
    }
    require(opened.has_value(), "it cannot be opened: {}", opened ? "" : opened.error().message());
    if (how == crash::pages_lost && !(*opened)->persist()) {
        // What a commit offset covers may be nowhere. This writer cannot tell until it is to be persisted; the next cuts it.
        (*opened).reset();
        opened = open();
        require(opened && (*opened)->persist(), "after a refusal it cannot be opened, or not be persisted");
    }
    auto& to = **opened;
    const auto seen = see(on.bytes());
    const std::uint64_t newest = model.compare(seen, how);

    // It goes on: what comes next has a sequence above everything, and changes nothing before it.
    static constexpr std::array<std::byte, 24> probe{};
    for (const auto& region : seen.regions) {
        if (region.end - region.committed < 16 + probe.size())
            continue;
        const auto given = to_uint(must(to.append(must(to.find(region.name)), probe)));
        require(given > newest, "sequence {} is given again: {} was there already", given, newest);
        const auto more = see_entries(on.bytes(), region.begin, region.committed + 16 + probe.size());
        require(more.size() == region.entries.size() + 1 && more.back().sequence() == given,
                "region {}: an append after the crash is not there", region.name);
        break;
    }
    if (chance(1.0 / 64))
        check_readers(on, see(on.bytes()));
}

/// The library's readers show what the bytes say, and find every CRC right.
void explorer::check_readers(const mapped_file& on, const seen_stream& seen) {
    const auto from = must(reader::open(on.path(), {.name = {}, .without_control = true}));
    std::size_t expected = 0;
    for (const auto& region : seen.regions) {
        std::size_t entries = 0;
        for (const auto& e : region.entries)
            entries += e.is_filler() ? 0 : 1;
        expected += entries;
        auto cursor = must(from.follow(must(from.find(region.name)), {.check_crc = true}));
        for (const entry& e : cursor) {
            (void)e;
            --entries;
        }
        must(cursor.status());
        require(entries == 0, "region {}: a reader shows {} entries less than there are", region.name, entries);
    }
    auto all = must(from.follow_all({.check_crc = true}));
    for (const entry& e : all) {
        (void)e;
        --expected;
    }
    must(all.status());
    require(expected == 0, "a merged cursor shows {} entries less than there are", expected);
}

void explorer::crash_again(const point& at, const image& content, const stream_model& model) {
    ++counts_.second_crashes;
    const std::uint64_t seed = random_();
    recording next;
    try {
        {
            stage second(file(at.depth + 1), recorder_, content, model, seed);
            after_crash(second);
            next = second.finish();
        }
        explore_further(std::move(next), seed, at.depth + 1, at.deaths);
    } catch (const std::exception& e) {
        throw std::runtime_error(fmt::format("after another crash: {}", e.what()));
    }
}

void explorer::go_on_after_death(const point& at) {
    ++counts_.second_crashes;
    const std::uint64_t seed = random_();
    recording next;
    try {
        {
            stage second(file(at.depth), recorder_, *at.of, at.event + 1, seed);
            after_crash(second);
            next = second.finish();
        }
        explore_further(std::move(next), seed, at.depth, false);
    } catch (const std::exception& e) {
        throw std::runtime_error(fmt::format("after the writer died: {}", e.what()));
    }
}

/// Less thoroughly: there are many of these.
void explorer::explore_further(recording next, std::uint64_t seed, std::size_t depth, bool deaths) {
    const auto before = limits;
    const auto random = random_;
    limits.exhaustive_units = std::min<std::size_t>(limits.exhaustive_units, 2);
    limits.exhaustive_images = std::min<std::size_t>(limits.exhaustive_images, 8);
    limits.samples = std::min<std::size_t>(limits.samples, 2);
    limits.crashes_again = std::min(limits.crashes_again, 0.5);
    limits.deaths_again = std::min(limits.deaths_again, 0.5);
    explore(next, seed, depth, deaths);
    limits = before;
    random_ = random;
}

}  // namespace pmemstream::test
