#include "tests/crash/enumerator/workloads.hpp"

#include "src/base/crc32c.hpp"
#include "src/format/entry.hpp"
#include "src/format/features.hpp"
#include "src/format/layout.hpp"
#include "src/format/validate.hpp"
#include "src/recovery/trust.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>

namespace pmemstream::test {

namespace {

std::size_t some_bytes(stage& s, std::size_t least = 1, std::size_t most = 40) {
    return least + s.random()() % (most - least + 1);
}

/// Two regions with an entry or two each, of which some are persisted; then what follows is of interest.
void prepare(stage& s) {
    s.open();
    s.allocate("a", 1000);
    s.allocate("b", 500);
    s.append("a", some_bytes(s));
    if (s.random()() % 2 != 0)
        s.persist();
    s.append("b", some_bytes(s));
    if (s.random()() % 2 != 0)
        s.append("a", some_bytes(s), horizon::persisted);
}

void first_append(stage& s) {
    s.open();
    s.allocate("a", 1000);
    s.from_here();
    s.append("a", some_bytes(s, 0, 120));
    s.append("a", some_bytes(s), s.random()() % 2 != 0 ? horizon::persisted : horizon::committed);
}

void append(stage& s) {
    prepare(s);
    s.from_here();
    for (int i = 0; i < 3; ++i)
        s.append(s.random()() % 3 != 0 ? "a" : "b", some_bytes(s));
    s.append("b", some_bytes(s), horizon::persisted);
}

void reserve_publish(stage& s) {
    prepare(s);
    s.from_here();
    s.reserve("a", some_bytes(s));
    s.reserve("a", some_bytes(s));
    s.reserve("b", some_bytes(s));
    s.publish(1);
    s.publish(2);
    s.publish(0);
    s.persist();
}

void abandon(stage& s) {
    prepare(s);
    s.from_here();
    s.reserve("a", some_bytes(s));
    s.reserve("a", some_bytes(s));
    s.reserve("a", some_bytes(s));
    s.publish(2);
    s.abandon(1);
    s.publish(0);
    s.append("a", some_bytes(s), horizon::persisted);
}

void batch(stage& s) {
    prepare(s);
    s.from_here();
    s.append_batch("a", {some_bytes(s), some_bytes(s), some_bytes(s)});
    s.append("a", some_bytes(s));
    s.append_batch("b", {some_bytes(s), some_bytes(s)});
    s.persist();
}

void allocate(stage& s) {
    prepare(s);
    s.from_here();
    s.append("a", some_bytes(s));
    s.allocate("new", 200 + 64 * (s.random()() % 4));
    s.append("new", some_bytes(s));
    s.append("new", some_bytes(s), horizon::persisted);
}

void free(stage& s) {
    prepare(s);
    s.from_here();
    s.append("a", some_bytes(s));
    s.append("b", some_bytes(s));
    s.free("b");
    s.append("a", some_bytes(s));
    s.free("a");
}

void clear(stage& s) {
    prepare(s);
    s.from_here();
    s.append("a", some_bytes(s));
    s.append("b", some_bytes(s));
    s.clear("a");
    s.append("a", some_bytes(s));
    s.append("a", some_bytes(s), horizon::persisted);
}

void reuse(stage& s) {
    prepare(s);
    for (int i = 0; i < 4; ++i)
        s.append("b", 8);
    s.from_here();
    s.free("b");
    s.allocate("c", 500);
    for (int i = 0; i < 3; ++i)
        s.append("c", 8);
    s.persist();
}

void table_segment(stage& s) {
    s.open();
    // What a further segment will lie on once held entries.
    s.allocate("old", 26'000);
    for (int i = 0; i < 14; ++i)
        s.append("old", 500, horizon::committed);
    s.persist();
    s.free("old");
    s.allocate("a", 300);
    s.append("a", some_bytes(s));
    for (int i = 0; i < 7; ++i)  // as many as the first segment still has slots for
        s.allocate("r" + std::to_string(i), 16);
    s.from_here();
    s.append("a", some_bytes(s));
    s.allocate("new", 300);
    s.append("new", some_bytes(s));
    s.append("a", some_bytes(s), horizon::persisted);
    s.free("new");
}

void filled_region(stage& s) {
    prepare(s);
    s.allocate("full", 128);
    s.from_here();
    s.append("full", some_bytes(s, 17, 40));
    while (s.room("full") >= 16)
        s.append("full", s.room("full") >= 48 ? 8 : s.room("full") - 16);
    s.append("a", some_bytes(s), horizon::persisted);
}

void clean_close(stage& s) {
    prepare(s);
    s.from_here();
    s.append("a", some_bytes(s));
    s.append("b", some_bytes(s));
    s.close();
}

void reopen(stage& s) {
    prepare(s);
    s.append("a", some_bytes(s, 150, 200));  // so that what follows lies in another page than the header
    s.close();
    s.from_here();
    s.open();
    s.append("b", some_bytes(s));
    s.append("a", some_bytes(s), horizon::persisted);
}

/// The second writer uses a feature that the first did not know: see explorer::check_features().
void features(stage& s) {
    prepare(s);
    s.close();
    format::known_features = format::raised_features = {.compatible = 1, .read_compatible = 2, .incompatible = 4};
    s.from_here();
    s.open();
    s.append("a", some_bytes(s), horizon::persisted);
}

void first_opening(stage& s) {
    s.from_here();
    s.open();
    s.allocate("a", 200);
    s.append("a", some_bytes(s));
}

void two_epochs(stage& s) {
    s.open();
    s.allocate("a", 1000);
    s.append("a", 8, horizon::persisted);
    s.from_here();
    for (int i = 0; i < 4; ++i)
        s.append("a", 8);
}

void other_region_durable(stage& s) {
    prepare(s);
    s.from_here();
    s.append("a", some_bytes(s));
    s.append("b", some_bytes(s), horizon::persisted);
    s.append("a", some_bytes(s));
    s.append("b", some_bytes(s), horizon::persisted);
}

void rounds(stage& s) {
    prepare(s);
    s.from_here();
    for (int i = 0; i < 3; ++i) {
        s.append("a", some_bytes(s));
        s.append("b", some_bytes(s));
        s.persist();
    }
}

/// What other threads flush, and when, is chance.
void waiters(stage& s) {
    prepare(s);
    s.from_here();
    s.start_waiting(3);
    for (int i = 0; i < 4; ++i)
        s.append("a", some_bytes(s));
    s.append_batch("b", {some_bytes(s), some_bytes(s)});
    s.allocate("new", 300);
    s.append("new", some_bytes(s));
    s.append("b", some_bytes(s), horizon::persisted);
    s.clear("a");
    s.append("a", some_bytes(s));
    s.free("new");
    s.append("b", some_bytes(s));
    s.stop_waiting();
}

/// Where lines are flushed, the large payload goes past the caches, at any place in a line and of any length in it.
void past_caches(stage& s) {
    s.open();
    s.allocate("a", 40'000);
    s.append("a", some_bytes(s, 1, 60));
    s.from_here();
    s.append("a", some_bytes(s, 16 << 10, (16 << 10) + 64), horizon::persisted);
    s.append("a", some_bytes(s));
}

void create(stage& s) {
    s.from_here();
    s.create({.stream_bytes = 64 << 10, .block_bytes = 64, .file_mode = {}, .allow_network_filesystem = false});
}

void no_stream(image& content) {
    std::fill(content.begin(), content.end(), std::byte{0});
}

/// Two entries of eight bytes where blocks were handed out with what somebody left in them.
void stale_bytes(stage& s) {
    s.open();
    s.allocate("a", 1000);
    s.append("a", 8, horizon::persisted);
    s.from_here();
    s.append("a", 8);
    s.append("a", 8, horizon::persisted);
}

/// Whole entries with the sequences that come next, behind each of those that stale_bytes() appends.
void leave_entries(image& content, const std::array<std::byte, 16>& uuid, std::uint64_t generation) {
    constexpr std::uint64_t begin = 7936 + sizeof(format::extent_header) + 128;  // behind the head of region "a"
    constexpr std::uint64_t entry_bytes = 24;
    constexpr std::uint64_t epoch = 1;
    for (std::uint64_t n = 1; n < 8; ++n) {
        const std::uint64_t offset = begin + n * entry_bytes;
        const std::uint64_t payload = mixed(n);
        format::entry_header header{
            .payload_bytes = 8, .crc = 0, .meta = (n + 1) | format::entry_meta::epoch_bits(epoch)};
        const auto state = base::crc32c_extend(format::entry_crc_seed(uuid, generation), &payload, sizeof payload);
        header.crc = format::entry_crc(state, header.payload_bytes, epoch, header.meta, offset);
        std::memcpy(content.data() + offset, &header, sizeof header);
        std::memcpy(content.data() + offset + sizeof header, &payload, sizeof payload);
    }
}

std::array<std::byte, 16> uuid_of(const image& content) {
    std::array<std::byte, 16> uuid{};
    std::memcpy(uuid.data(), content.data() + offsetof(format::superblock, uuid), sizeof uuid);
    return uuid;
}

void entries_of_other_stream(image& content) {
    auto uuid = uuid_of(content);
    uuid[3] ^= std::byte{1};
    leave_entries(content, uuid, 1);
}

void entries_of_other_generation(image& content) {
    leave_entries(content, uuid_of(content), 2);
}

void entries_of_other_epoch(image& content) {
    leave_entries(content, uuid_of(content), 1);
    // The next writer, of what is a copy for it, has the same eight bits as theirs.
    const std::uint64_t epoch = format::epoch_word(257 - core::foreign_epochs);
    std::memcpy(content.data() + format::header_offset + offsetof(format::identity_line, epoch), &epoch, sizeof epoch);
}

constexpr std::array all{
    workload{"first_append", "the first entries of a fresh stream", first_append},
    workload{"append", "entries of several lengths, the last of them durable", append},
    workload{"reserve_publish", "written in place, published out of order", reserve_publish},
    workload{"abandon", "a filler between entries", abandon},
    workload{"batch", "batches, whole or not at all", batch},
    workload{"allocate", "a new region and its first entries", allocate},
    workload{"free", "both regions freed, with entries that were not persisted", free},
    workload{"clear", "a region emptied and used again", clear},
    workload{"reuse", "the blocks of a freed region under another", reuse},
    workload{"table_segment", "the region table grows onto used blocks", table_segment},
    workload{"filled_region", "a region filled to its last byte", filled_region},
    workload{"clean_close", "closing in order", clean_close},
    workload{"reopen", "closed, and opened again", reopen},
    workload{"features", "an opening that raises features, and an entry", features},
    workload{"first_opening", "the first writer of a stream", first_opening},
    workload{"two_epochs", "entries of one length, cut and appended again by later writers", two_epochs},
    workload{"other_region_durable", "committed in one region, then durable in another", other_region_durable},
    workload{"rounds", "wait_persisted, with the persisted words written in between", rounds, nullptr, true},
    workload{"waiters", "three threads wait while another appends and changes regions", waiters, nullptr, false, true},
    workload{"past_caches", "a large durable entry", past_caches, nullptr, false, false, 97},
    workload{"create", "a stream that is being made", create, no_stream},
    workload{"other_stream", "behind the end lie entries of another stream", stale_bytes, entries_of_other_stream},
    workload{"other_generation", "behind the end lie entries of an earlier use", stale_bytes,
             entries_of_other_generation},
    workload{"other_epoch", "behind the end lie entries of 256 writers ago", stale_bytes, entries_of_other_epoch},
};

}  // namespace

std::span<const workload> workloads() {
    return all;
}

void go_on_after_crash(stage& s) {
    auto& random = s.random();
    s.open();
    const auto how = [&] { return random() % 3 == 0 ? horizon::persisted : horizon::committed; };
    for (const auto& name : s.names()) {
        if (random() % 8 == 0) {
            s.clear(name);
        } else if (random() % 8 == 0) {
            s.free(name);
            continue;
        }
        const auto appends = random() % 3;
        for (std::uint64_t i = 0; i < appends && s.room(name) >= 160; ++i)
            s.append_lost(name, random() % 2 != 0, how());
    }
    const auto names = s.names();
    if (random() % 4 == 0 && std::find(names.begin(), names.end(), "later") == names.end())
        s.allocate("later", 100 + random() % 400);
    if (random() % 4 == 0)
        s.close();
}

}  // namespace pmemstream::test
