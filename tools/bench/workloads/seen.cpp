// A process appends at a set rate, another spins: how long after the moment at which an entry should have been appended
// it is seen. Counting from that moment, and not from when the appending process got round to it, is what keeps a stall
// from hiding all the entries that it held up (coordinated omission).
#include "tools/bench/follower.hpp"
#include "tools/bench/histogram.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/percentiles.hpp"
#include "tools/bench/workloads/sending_side.hpp"

#include <fmt/format.h>
#include <cstring>

namespace bench {

namespace {

using namespace pmemstream;

using step_kind = sending_side::step_kind;

companion::step sender(const std::filesystem::path& file, const std::string& raw_file, std::uint64_t region_bytes,
                       std::uint64_t size, double gap_ns) {
    const auto here = std::make_shared<sending_side>(file, raw_file, region_bytes);
    here->payload = payload_of(size);
    return [here, gap_ns](meeting& shared) {
        const raw_log log(here->raw.data());
        const auto stamp = [&](std::uint64_t intended) {
            std::memcpy(here->payload.data(), &intended, sizeof intended);
        };
        switch (static_cast<step_kind>(shared.to[0])) {
            case step_kind::clear:
                here->clear(shared);
                break;
            case step_kind::append:
                at_rate(shared.to[1], gap_ns, [&](std::uint64_t intended) {
                    stamp(intended);
                    append_to(*here->to, here->where, here->payload);
                });
                break;
            case step_kind::append_raw:
                at_rate(shared.to[1], gap_ns, [&, position = std::uint64_t{0}](std::uint64_t intended) mutable {
                    stamp(intended);
                    position = raw_append(log, position, here->payload, intended);
                });
                break;
        }
    };
}

void record_delay(std::span<const std::byte> payload, histogram& times) {
    std::uint64_t intended = 0;
    std::memcpy(&intended, payload.data(), sizeof intended);
    keep(touch_lines(payload));
    times.record(now_ns() - intended);
}

}  // namespace

void run_seen(const settings& how, report& into) {
    const std::string raw_file = how.file.string() + ".raw";
    for (const std::uint64_t wanted : how.sizes_or({64})) {
        const std::uint64_t size = std::max<std::uint64_t>(wanted, 8);  // the moment stands in it
        const std::uint64_t fit = how.bytes(std::uint64_t{48} << 20) / entry_bytes(size);
        constexpr unsigned slices = 10;
        // A quarter of a second for a turn.
        const auto in_time = how.count(static_cast<std::uint64_t>(how.rate / 4 / slices) + 1);
        const std::uint64_t count = std::min(fit, in_time);
        const std::uint64_t region_bytes = count * entry_bytes(size) + 4096;
        const scratch_stream stream(how.file, region_bytes + (std::uint64_t{1} << 20));
        const scratch_file beside(raw_file, region_bytes + 4096);
        companion other(how.other_cpu,
                        [&] { return sender(stream.file(), raw_file, region_bytes, size, 1e9 / how.rate); });
        pin(how.cpu);
        const auto from = must(reader::open(stream.file()));
        const raw_mapping raw(raw_file, access::read);
        const raw_log log(raw.data());
        meeting& shared = other.shared();
        const auto ask = [&](step_kind what) {
            shared.to = {static_cast<std::uint64_t>(what), count};
            other.ask();
        };
        percentile_rows rows("latency", fmt::format("seen, {:.0f}/s", how.rate), size, "ns",
                             "the same over a raw log without checks");
        rows.measure(
            how.repetitions,
            [&](histogram& times) {
                times.clear();
                ask(step_kind::clear);
                other.await();
                follower at(from, told(shared.from.data()));
                ask(step_kind::append);
                for (std::uint64_t i = 0; i < count; ++i)
                    record_delay(at.await(), times);
                other.await();
            },
            [&](histogram& times) {
                times.clear();
                ask(step_kind::clear);
                other.await();
                ask(step_kind::append_raw);
                for (std::uint64_t i = 0, position = 0; i < count; ++i) {
                    const auto payload = raw_await(log, position);
                    position += entry_bytes(payload.size());
                    record_delay(payload, times);
                }
                other.await();
            },
            slices);
        rows.add_to(into, {.p50 = 1.25, .p99 = 1.25});
    }
}

}  // namespace bench
