// From an append to the first step of a reader that slept, in another process; and what that costs the writer. The limit
// is a bare futex in memory that both map: store, FUTEX_WAKE.
#include "tools/bench/companion.hpp"
#include "tools/bench/follower.hpp"
#include "tools/bench/histogram.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_futex.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/percentiles.hpp"

#include <cstring>

namespace bench {

namespace {

using namespace pmemstream;

/// A sleeper says so, and is given so long to be asleep indeed: nothing that could be looked at tells it exactly.
constexpr std::uint64_t falling_asleep_ns = 100'000;

enum class step_kind : std::uint64_t { sleep_on_stream, sleep_on_futex };

/// In the second process: sleeps `to[1]` times, and records how long after the moment told it ran again.
companion::step sleeper(const std::filesystem::path& file) {
    const auto from = std::make_shared<reader>(must(reader::open(file)));
    return [from](meeting& shared) {
        const auto rounds = shared.to[1];
        shared.times.clear();
        if (static_cast<step_kind>(shared.to[0]) == step_kind::sleep_on_stream) {
            auto at = must(from->follow(told(&shared.to[2]), {.spin = std::chrono::nanoseconds(0)}));
            for (std::uint64_t i = 1; i <= rounds; ++i) {
                __atomic_store_n(&shared.place, i, __ATOMIC_RELEASE);
                const auto got = at.wait();
                const std::uint64_t now = now_ns();
                if (!got || !*got)
                    throw std::runtime_error(got ? "a cursor gave up waiting" : got.error().message());
                std::uint64_t sent = 0;
                std::memcpy(&sent, (*got)->payload().data(), sizeof sent);
                shared.times.record(now - sent);
            }
            return;
        }
        for (std::uint64_t i = 1; i <= rounds; ++i) {
            const auto seen = __atomic_load_n(&shared.word, __ATOMIC_ACQUIRE);
            __atomic_store_n(&shared.place, i, __ATOMIC_RELEASE);
            while (__atomic_load_n(&shared.word, __ATOMIC_ACQUIRE) == seen)
                futex_wait(shared.word, seen, shared_by::processes);
            const std::uint64_t now = now_ns();
            shared.times.record(now - __atomic_load_n(&shared.to[4], __ATOMIC_RELAXED));
        }
    };
}

/// In the first process: wakes the sleeper again and again, and records what that takes.
template <class Wake>
void wake_often(companion& other, std::uint64_t rounds, histogram& cost, Wake wake) {
    meeting& shared = other.shared();
    cost.clear();
    __atomic_store_n(&shared.place, 0, __ATOMIC_RELEASE);
    other.ask();
    for (std::uint64_t i = 1; i <= rounds; ++i) {
        while (__atomic_load_n(&shared.place, __ATOMIC_ACQUIRE) != i) {
        }
        for (const std::uint64_t until = now_ns() + falling_asleep_ns; now_ns() < until;) {
        }
        const std::uint64_t begin = now_ns();
        wake(begin);
        cost.record(now_ns() - begin);
    }
    other.await();
}

}  // namespace

void run_wake(const settings& how, report& into) {
    constexpr std::uint64_t region_bytes = std::uint64_t{8} << 20;
    const std::uint64_t size = 64;
    const std::uint64_t rounds = how.count(500);
    const scratch_stream stream(how.file, region_bytes + (std::uint64_t{1} << 20));
    companion other(how.other_cpu, [&] { return sleeper(stream.file()); });
    pin(how.cpu);
    const auto to = must(writer::open(stream.file()));
    auto where = must(to->allocate(region_bytes, "entries"));
    meeting& shared = other.shared();
    auto payload = payload_of(size);

    percentile_rows awake("wake", "append to awake", size, "ns", "a bare futex pair");
    percentile_rows cost("wake", "cost to the writer", size, "ns", "store and FUTEX_WAKE");
    const auto by_stream = [&](histogram& writer_cost) {
        where = must(to->clear(where, true));
        shared.to = {static_cast<std::uint64_t>(step_kind::sleep_on_stream), rounds};
        tell(&shared.to[2], where);
        wake_often(other, rounds, writer_cost, [&](std::uint64_t begin) {
            std::memcpy(payload.data(), &begin, sizeof begin);
            append_to(*to, where, payload);
        });
    };
    const auto by_hand = [&](histogram& writer_cost) {
        shared.to = {static_cast<std::uint64_t>(step_kind::sleep_on_futex), rounds};
        wake_often(other, rounds, writer_cost, [&](std::uint64_t begin) {
            __atomic_store_n(&shared.to[4], begin, __ATOMIC_RELAXED);
            __atomic_fetch_add(&shared.word, 1, __ATOMIC_RELEASE);
            futex_wake(shared.word, shared_by::processes);
        });
    };
    const auto unused = std::make_unique<histogram>();
    awake.measure(
        how.repetitions,
        [&](histogram& times) {
            by_stream(*unused);
            times = shared.times;
        },
        [&](histogram& times) {
            by_hand(*unused);
            times = shared.times;
        });
    awake.add_to(into, {.p50 = 1.1, .p99 = std::nullopt}, 0.99);
    cost.measure(how.repetitions, by_stream, by_hand);
    cost.add_to(into, {}, 0.99);
}

}  // namespace bench
