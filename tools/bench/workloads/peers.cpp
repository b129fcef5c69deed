// The same entries through what others would use instead, each at the same guarantee and in the same turns.
#include "tools/bench/flush_lines.hpp"
#include "tools/bench/follower.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/durable.hpp"
#include "tools/bench/workloads/stream.hpp"

#include <algorithm>
#include <functional>
#include <optional>

namespace bench {

namespace {

using namespace pmemstream;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t entries_min = 2;  // what is delivered counts from the first to the last

/// Our side of a comparison: ns per entry over as many entries.
using ours = std::function<double(std::span<const std::byte> payload, std::uint64_t count)>;

class committed_appends {
public:
    explicit committed_appends(const settings& how)
        : bytes_(how.bytes(32 * mib, entries_min)),
          stream_(how.file, bytes_ + mib),
          writer_(must(writer::open(stream_.file()))),
          where_(must(writer_->allocate(bytes_, "entries"))) {}
    double append(std::span<const std::byte> payload, std::uint64_t count) {
        if (count * entry_bytes(payload.size()) > bytes_)
            throw std::runtime_error("peers: entries of that size do not fit in the region");
        where_ = must(writer_->clear(where_));
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < count; ++i)
            append_to(*writer_, where_, payload);
        return ns_since(begin) / static_cast<double>(count);
    }

private:
    std::uint64_t bytes_;
    scratch_stream stream_;
    std::unique_ptr<writer> writer_;
    region where_;
};

std::string_view name_of(guarantee what) {
    switch (what) {
        case guarantee::committed:
            return "committed";
        case guarantee::persisted_lines:
        case guarantee::persisted_pages:
            return "persisted";
        case guarantee::delivered:
            return "delivered";
    }
    return "?";
}

/// How many entries a turn takes: about as long for each guarantee.
std::uint64_t entries_of(guarantee what, std::uint64_t size, const settings& how) {
    const std::uint64_t full = what == guarantee::persisted_pages ? 100 : 20'000;
    const std::uint64_t fit = how.bytes(32 * mib, entries_min) / entry_bytes(size);
    return std::max(entries_min, std::min(how.count(full), fit));
}

void measure(const settings& how, report& into, const peer_kind& kind, peer& theirs, const ours& own) {
    for (const std::uint64_t size : how.sizes_or({64, 1024})) {
        const auto payload = payload_of(size);
        const std::uint64_t count = entries_of(kind.gives, size, how);
        const auto costs = in_turns(how.repetitions,
                                    {[&] { return own(payload, count); }, [&] { return theirs.take(payload, count); }});
        row r{.workload = "peers", .payload_bytes = size, .unit = "ns/entry", .limit = kind.name};
        r.variant = std::string(name_of(kind.gives)) + ": " + kind.name;
        r.goal = size == 64 ? kind.goal_at_64_bytes : 1;
        into.add(summarized(r, costs[0], costs[1]));
    }
}

/// The peer first: those that fork want to do it before there are threads.
void run_one(const settings& how, report& into, const peer_kind& kind) {
    std::optional<forced_lines> forced;
    std::optional<committed_appends> committed;
    std::optional<line_durable> lines;
    std::optional<page_durable> pages;
    std::optional<stream_pair> pair;
    std::unique_ptr<peer> theirs;
    peer_note note{kind.name, std::string(name_of(kind.gives)), kind.lacks, {}};
    if (kind.make == nullptr) {
        note.left_out = std::string("built without ") + kind.package;
        into.add(note);
        return;
    }
    ours own;
    try {
        if (kind.gives == guarantee::persisted_lines) {
            if (!can_flush_lines())
                throw not_here("no cache lines are flushed on this processor");
            forced.emplace();
        }
        pin(how.cpu);
        if (kind.gives == guarantee::persisted_pages)
            unpin();
        theirs = kind.make(how);
    } catch (const not_here& why) {
        note.left_out = why.what();
        into.add(note);
        return;
    }
    into.add(note);
    switch (kind.gives) {
        case guarantee::committed:
            committed.emplace(how);
            own = [&](auto payload, std::uint64_t count) { return committed->append(payload, count); };
            break;
        case guarantee::persisted_lines:
            lines.emplace(how);
            own = [&](auto payload, std::uint64_t) { return lines->append(payload); };
            break;
        case guarantee::persisted_pages:
            pages.emplace(how, 1);
            own = [&](auto payload, std::uint64_t count) {
                return pages->append_and_wait(payload, 1, pages->times(payload.size(), 1, count));
            };
            break;
        case guarantee::delivered:
            pair.emplace(how, how.bytes(32 * mib, entries_min));
            own = [&](auto payload, std::uint64_t) { return pair->by_stream(payload.size()); };
            break;
    }
    measure(how, into, kind, *theirs, own);
}

}  // namespace

void run_peers(const settings& how, report& into) {
    for (const auto& kind : peer_kinds())
        run_one(how, into, kind);
}

}  // namespace bench
