// One process appends as fast as it can, another follows as fast as it can: what an entry costs the reader, from the
// first it sees to the last. Beside it the same two processes over a raw log.
#include "tools/bench/workloads/stream.hpp"
#include "tools/bench/follower.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/workload.hpp"
#include "tools/bench/workloads/sending_side.hpp"

namespace bench {

namespace {

using namespace pmemstream;

using step_kind = sending_side::step_kind;

companion::step appender(const std::filesystem::path& file, const std::filesystem::path& raw_file,
                         std::uint64_t region_bytes) {
    const auto here = std::make_shared<sending_side>(file, raw_file, region_bytes);
    return [here](meeting& shared) {
        const auto entries = shared.to[1];
        const raw_log log(here->raw.data());
        if (here->payload.size() != shared.to[2])
            here->payload = payload_of(shared.to[2]);
        switch (static_cast<step_kind>(shared.to[0])) {
            case step_kind::clear:
                here->clear(shared);
                break;
            case step_kind::append:
                for (std::uint64_t i = 0; i < entries; ++i)
                    append_to(*here->to, here->where, here->payload);
                break;
            case step_kind::append_raw:
                for (std::uint64_t i = 0, position = 0; i < entries; ++i)
                    position = raw_append(log, position, here->payload, i);
                break;
        }
    };
}

}  // namespace

stream_pair::stream_pair(const settings& how, std::uint64_t bytes)
    : bytes_(bytes),
      stream_(how.file, bytes + (std::uint64_t{1} << 20)),
      beside_(how.file.string() + ".raw", bytes + 4096),
      writer_(how.other_cpu, [&] { return appender(stream_.file(), beside_.file(), bytes); }),
      from_(must(reader::open(stream_.file()))),
      raw_(beside_.file(), access::read) {}

std::uint64_t stream_pair::entries(std::uint64_t size) const {
    const std::uint64_t fit = bytes_ / entry_bytes(size);
    if (fit < 2)
        throw std::runtime_error("stream: no two entries of that size fit in the region");
    return fit;
}

void stream_pair::ask(std::uint64_t what, std::uint64_t size) {
    writer_.shared().to = {what, entries(size), size};
    writer_.ask();
}

double stream_pair::by_stream(std::uint64_t size, std::chrono::nanoseconds coalesce) {
    ask(static_cast<std::uint64_t>(step_kind::clear), size);
    writer_.await();
    follower at(from_, told(writer_.shared().from.data()), coalesce);
    ask(static_cast<std::uint64_t>(step_kind::append), size);
    std::uint64_t sum = touch_lines(at.await());
    const auto begin = clock::now();
    for (std::uint64_t i = 1; i < entries(size); ++i)
        sum += touch_lines(at.await());
    const double took = ns_since(begin);
    keep(sum);
    writer_.await();
    return took / static_cast<double>(entries(size) - 1);
}

double stream_pair::by_hand(std::uint64_t size) {
    ask(static_cast<std::uint64_t>(step_kind::clear), size);
    writer_.await();
    const raw_log log(raw_.data());
    ask(static_cast<std::uint64_t>(step_kind::append_raw), size);
    std::uint64_t sum = touch_lines(raw_await(log, 0));
    const auto begin = clock::now();
    std::uint64_t position = entry_bytes(size);
    for (std::uint64_t i = 1; i < entries(size); ++i) {
        const auto payload = raw_await(log, position);
        sum += touch_lines(payload);
        position += entry_bytes(payload.size());
    }
    const double took = ns_since(begin);
    keep(sum);
    writer_.await();
    return took / static_cast<double>(entries(size) - 1);
}

void run_stream(const settings& how, report& into) {
    stream_pair pair(how, how.bytes(std::uint64_t{64} << 20, 4));
    pin(how.cpu);
    for (const std::uint64_t size : how.sizes_or({8, 64, 256, 1024, 4096, 65536})) {
        const auto costs =
            in_turns(how.repetitions, {[&] { return pair.by_stream(size); }, [&] { return pair.by_hand(size); },
                                       [&] { return pair.by_stream(size, std::chrono::nanoseconds(0)); }});
        row r{.workload = "stream", .variant = "two processes", .payload_bytes = size, .unit = "ns/entry"};
        r.limit = "the same over a raw log without checks";
        r.goal = 1.3;
        into.add(summarized(r, costs[0], costs[1]));
        r.variant = "two processes, coalesce 0";
        r.goal.reset();
        into.add(summarized(r, costs[2], costs[1]));
    }
}

}  // namespace bench
