// Two processes, one stream in each direction: every round trip appends the payload to one, and the other process
// appends what it read there to its own. The limit does the same by hand: it moves the same lines of payload, and
// nothing else.
#include "tools/bench/follower.hpp"
#include "tools/bench/histogram.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/percentiles.hpp"

#include <optional>

namespace bench {

namespace {

using namespace pmemstream;

/// What a process has: its own stream to write, the other's to read; and the same by hand.
class side {
public:
    side(const std::string& own, const std::string& other, std::uint64_t region_bytes)
        : to_(must(writer::open(own))),
          where_(must(to_->allocate(region_bytes, "messages"))),
          from_(must(reader::open(other))),
          raw_to_(own + ".raw", access::write),
          raw_from_(other + ".raw", access::read),
          log_to_(raw_to_.data()),
          log_from_(raw_from_.data()) {}

    /// Empties what this side writes.
    region begin() {
        in_.reset();
        where_ = must(to_->clear(where_));
        __atomic_store_n(log_to_.commit_offset, 0, __ATOMIC_RELEASE);
        sent_ = received_ = 0;
        return where_;
    }
    void follow(region theirs) { in_.emplace(from_, theirs); }

    void send(std::span<const std::byte> payload) { append_to(*to_, where_, payload); }
    [[nodiscard]] std::span<const std::byte> receive() { return in_->await(); }
    void raw_send(std::span<const std::byte> payload) noexcept { sent_ = raw_append(log_to_, sent_, payload, sent_); }
    [[nodiscard]] std::span<const std::byte> raw_receive() noexcept {
        const auto got = raw_await(log_from_, received_);
        received_ += entry_bytes(got.size());
        return got;
    }

private:
    std::unique_ptr<writer> to_;
    region where_;
    reader from_;
    raw_mapping raw_to_;
    raw_mapping raw_from_;
    raw_log log_to_;
    raw_log log_from_;
    std::optional<follower> in_;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
};

enum class step_kind : std::uint64_t { begin, follow, echo, raw_echo };

companion::step echo_of(const std::string& own, const std::string& other, std::uint64_t region_bytes) {
    const auto here = std::make_shared<side>(own, other, region_bytes);
    return [here](meeting& shared) {
        const auto trips = shared.to[1];
        switch (static_cast<step_kind>(shared.to[0])) {
            case step_kind::begin:
                tell(shared.from.data(), here->begin());
                break;
            case step_kind::follow:
                here->follow(told(&shared.to[2]));
                break;
            case step_kind::echo:
                for (std::uint64_t i = 0; i < trips; ++i)
                    here->send(here->receive());
                break;
            case step_kind::raw_echo:
                for (std::uint64_t i = 0; i < trips; ++i)
                    here->raw_send(here->raw_receive());
                break;
        }
    };
}

}  // namespace

void run_echo(const settings& how, report& into) {
    const std::string there = how.file.string() + ".a", back = how.file.string() + ".b";
    for (const std::uint64_t size : how.sizes_or({64})) {
        const std::uint64_t bytes_max = how.bytes(std::uint64_t{48} << 20);
        const std::uint64_t trips = std::min(how.count(100'000), bytes_max / entry_bytes(size));
        const std::uint64_t region_bytes = trips * entry_bytes(size) + 4096;
        const std::uint64_t room = region_bytes + (std::uint64_t{1} << 20);
        const scratch_stream stream_there(there, room), stream_back(back, room);
        const scratch_file raw_there(there + ".raw", room), raw_back(back + ".raw", room);
        companion other(how.other_cpu, [&] { return echo_of(back, there, region_bytes); });
        pin(how.cpu);
        side here(there, back, region_bytes);
        meeting& shared = other.shared();
        const auto payload = payload_of(size);

        percentile_rows rows("latency", "echo", size, "ns/round trip", "bare ping-pong of the same bytes");
        const auto round = [&](bool by_hand, histogram& times) {
            // Both empty what they write, then both follow the other's new generation.
            shared.to = {static_cast<std::uint64_t>(step_kind::begin), trips};
            other.ask_and_await();
            const region theirs = told(shared.from.data());
            shared.to[0] = static_cast<std::uint64_t>(step_kind::follow);
            tell(&shared.to[2], here.begin());
            other.ask_and_await();
            here.follow(theirs);
            shared.to[0] = static_cast<std::uint64_t>(by_hand ? step_kind::raw_echo : step_kind::echo);
            other.ask();
            times.clear();
            for (std::uint64_t i = 0, begin = now_ns(); i < trips; ++i) {
                if (by_hand) {
                    here.raw_send(payload);
                    keep(touch_lines(here.raw_receive()));
                } else {
                    here.send(payload);
                    keep(touch_lines(here.receive()));
                }
                const std::uint64_t end = now_ns();
                times.record(end - begin);
                begin = end;
            }
            other.await();
        };
        rows.measure(
            how.repetitions, [&](histogram& times) { round(false, times); },
            [&](histogram& times) { round(true, times); });
        rows.add_to(into, {.p50 = 1.25, .p99 = 1.25});
    }
}

}  // namespace bench
