#include "tools/bench/measure.hpp"
#include "tools/bench/streams.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstring>

namespace bench {

namespace {

using namespace pmemstream;

// Two processes, one stream in each direction. Every round trip appends the payload to one stream, and the other
// process appends what it read of it to the other. The limit does the same by hand: header and payload at an advancing
// position of a second region, a commit offset stored with release order, a spinning look at it with acquire order; no
// CRC, no checks.
constexpr std::uint64_t round_trips = 20'000;

class raw_channel {
public:
    raw_channel(const raw_mapping& mapping, const region_info& where)
        : commit_offset_(reinterpret_cast<std::uint64_t*>(mapping.at(where.begin))),
          memory_(mapping.at(where.begin) + 128) {}

    void rewind() noexcept { position_ = 0; }
    void send(std::span<const std::byte> payload, std::uint64_t number) noexcept {
        const raw_header header{static_cast<std::uint32_t>(payload.size()), 0, number};
        std::memcpy(memory_ + position_, &header, sizeof header);
        std::memcpy(memory_ + position_ + sizeof header, payload.data(), payload.size());
        position_ += entry_bytes(payload.size());
        __atomic_store_n(commit_offset_, base_ + position_, __ATOMIC_RELEASE);
    }
    [[nodiscard]] std::span<const std::byte> receive() noexcept {
        while (__atomic_load_n(commit_offset_, __ATOMIC_ACQUIRE) <= base_ + position_ ||
               __atomic_load_n(commit_offset_, __ATOMIC_RELAXED) > base_ + (std::uint64_t{1} << 32)) {
        }
        raw_header header;
        std::memcpy(&header, memory_ + position_, sizeof header);
        const std::span<const std::byte> payload(memory_ + position_ + sizeof header, header.payload_bytes);
        position_ += entry_bytes(header.payload_bytes);
        return payload;
    }
    /// Offsets of a repetition begin where no earlier one ended.
    void begin(std::uint64_t repetition) noexcept {
        rewind();
        base_ = repetition << 33;
    }

private:
    std::uint64_t* commit_offset_;
    std::byte* memory_;
    std::uint64_t position_ = 0;
    std::uint64_t base_ = 0;
};

/// What a process holds: its own stream to write, the other's to read.
struct side {
    std::unique_ptr<writer> out;
    region out_region;
    std::optional<cursor> in;
    std::optional<raw_mapping> out_raw_mapping;
    std::optional<raw_mapping> in_raw_mapping;
    std::optional<raw_channel> raw_out;
    std::optional<raw_channel> raw_in;

    side(std::unique_ptr<writer> own, const std::filesystem::path& own_file, const std::filesystem::path& other_file)
        : out(std::move(own)), out_region(must(out->find("messages"))) {
        const auto mine = must(reader::open(own_file));
        const auto theirs = must(reader::open(other_file));
        in.emplace(must(theirs.follow(must(theirs.find("messages")), {.spin = spin_for_ever})));
        out_raw_mapping.emplace(own_file, true);
        in_raw_mapping.emplace(other_file, false);
        raw_out.emplace(*out_raw_mapping, must(mine.describe(must(mine.find("limit")))));
        raw_in.emplace(*in_raw_mapping, must(theirs.describe(must(theirs.find("limit")))));
    }

    void send(std::span<const std::byte> payload) const {
        if (auto got = out->append(out_region, payload); !got)
            throw std::runtime_error(got.error().message());
    }
    [[nodiscard]] std::span<const std::byte> receive() {
        auto got = in->wait();
        if (!got)
            throw std::runtime_error(got.error().message());
        return (*got)->payload();
    }
};

void prepare(const std::filesystem::path& file, std::uint64_t bytes) {
    const auto to = must(writer::open(file));
    (void)must(to->allocate(bytes, "messages"));
    (void)must(to->allocate(bytes, "limit"));
}

/// In the second process: answers until its parent is gone.
[[noreturn]] void answer(side& here, unsigned turns) {
    for (unsigned turn = 0; turn < turns; ++turn) {
        for (std::uint64_t i = 0; i < round_trips; ++i)
            here.send(here.receive());
        here.raw_in->begin(turn + 1);
        here.raw_out->begin(turn + 1);
        for (std::uint64_t i = 0; i < round_trips; ++i)
            here.raw_out->send(here.raw_in->receive(), i);
    }
    here.out.reset();
    ::_exit(0);
}

}  // namespace

std::vector<row> run_latency(const settings& how) {
    std::vector<row> rows;
    for (const std::uint64_t size : how.sizes) {
        const unsigned turns = how.repetitions + 1;  // the first does not count
        const std::uint64_t bytes = turns * round_trips * entry_bytes(size) + 4096;
        const scratch_stream there(how.file.string() + ".a", 2 * bytes + (std::uint64_t{1} << 20));
        const scratch_stream back(how.file.string() + ".b", 2 * bytes + (std::uint64_t{1} << 20));
        prepare(there.file(), bytes);
        prepare(back.file(), bytes);
        const pid_t parent = ::getpid();
        const pid_t child = ::fork();
        if (child < 0)
            throw std::runtime_error("fork failed");
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent)
                ::_exit(1);
            try {
                pin(how.other_cpu);
                side here(must(writer::open(back.file())), back.file(), there.file());
                answer(here, turns);
            } catch (const std::exception&) {
                ::_exit(1);
            }
        }
        pin(how.cpu);
        side here(must(writer::open(there.file())), there.file(), back.file());
        const std::vector<std::byte> payload(size, std::byte{0x5a});
        std::vector<double> p50, p99, limit_p50, limit_p99, trips(round_trips);
        const auto timed = [&](const std::function<void(std::uint64_t)>& trip, std::vector<double>& half,
                               std::vector<double>& most, bool counts) {
            for (std::uint64_t i = 0; i < round_trips; ++i) {
                const auto begin = clock::now();
                trip(i);
                trips[i] = std::chrono::duration<double, std::nano>(clock::now() - begin).count();
            }
            if (counts) {
                half.push_back(percentile(trips, 0.5));
                most.push_back(percentile(trips, 0.99));
            }
        };
        for (unsigned turn = 0; turn < turns; ++turn) {
            timed(
                [&](std::uint64_t) {
                    here.send(payload);
                    keep(here.receive().size());
                },
                p50, p99, turn > 0);
            here.raw_in->begin(turn + 1);
            here.raw_out->begin(turn + 1);
            timed(
                [&](std::uint64_t i) {
                    here.raw_out->send(payload, i);
                    keep(here.raw_in->receive().size());
                },
                limit_p50, limit_p99, turn > 0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        if (status != 0)
            throw std::runtime_error("the second process failed");
        row half{.workload = "latency", .variant = "echo p50", .payload_bytes = size, .unit = "ns/round trip"};
        half.goal = 1.3;
        summarize(half, p50, limit_p50);
        row most{.workload = "latency", .variant = "echo p99", .payload_bytes = size, .unit = "ns/round trip"};
        summarize(most, p99, limit_p99);
        rows.push_back(half);
        rows.push_back(most);
    }
    return rows;
}

}  // namespace bench
