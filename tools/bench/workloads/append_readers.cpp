// Appending while readers are there: registered and doing nothing, keeping up, or asleep until they are rung for. What
// counts is the CPU time of the appending thread: the readers' own work is theirs.
#include "tools/bench/companion.hpp"
#include "tools/bench/follower.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/workload.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

namespace bench {

namespace {

using namespace pmemstream;

enum class doing : std::uint64_t { leave, park, keep_up, sleep };

/// How often the calling thread left the CPU of its own accord.
long sleeps_of_thread() {
    rusage used{};
    ::getrusage(RUSAGE_THREAD, &used);
    return used.ru_nvcsw;
}

/// In the readers' process. Words of a step: what to do, how many cursors or entries, the region.
companion::step readers_of(const std::filesystem::path& file) {
    const auto from = std::make_shared<reader>(must(reader::open(file)));
    const auto parked = std::make_shared<std::vector<cursor>>();
    return [from, parked](meeting& shared) {
        const auto count = shared.to[1];
        const region where = told(&shared.to[2]);
        const auto what = static_cast<doing>(shared.to[0]);
        parked->clear();
        if (what == doing::park) {
            while (parked->size() < count) {
                parked->push_back(must(from->follow(where)));
                if (!parked->back().registered())
                    throw std::runtime_error(fmt::format("reader {} of {} found no slot", parked->size(), count));
            }
            return;
        }
        if (what == doing::leave)
            return;
        cursor_options options;
        options.spin = what == doing::sleep ? std::chrono::nanoseconds(0) : spin_for_ever;
        auto at = must(from->follow(where, options));
        __atomic_store_n(&shared.word, 1, __ATOMIC_RELEASE);  // from here on it follows
        const long slept = sleeps_of_thread();
        // The writer may decide while it appends, before the last of them, how many there are.
        for (std::uint64_t seen = 0; seen < __atomic_load_n(&shared.to[1], __ATOMIC_ACQUIRE);) {
            auto got = at.wait();
            if (!got)
                throw std::runtime_error(got.error().message());
            if (*got)
                ++seen;
            __atomic_store_n(&shared.place, static_cast<std::uint64_t>(sleeps_of_thread() - slept), __ATOMIC_RELEASE);
        }
    };
}

class scene {
public:
    scene(const settings& how, const std::filesystem::path& file, std::uint64_t size)
        : readers_(how.other_cpu, [&] { return readers_of(file); }),
          writer_(must(writer::open(file))),
          where_(must(writer_->allocate(region_bytes(how), "measured"))),
          payload_(payload_of(size)),
          entries_(region_bytes(how) / entry_bytes(size)) {}

    [[nodiscard]] static std::uint64_t region_bytes(const settings& how) {
        return how.bytes(std::uint64_t{64} << 20, 2 * burst);
    }

    /// CPU time per entry beside what the readers do.
    double appends_beside(doing what, std::uint64_t count) {
        const bool follows = what == doing::keep_up || what == doing::sleep;
        begin(what, follows ? entries_ : count);
        const std::uint64_t start = thread_cpu_ns();
        for (std::uint64_t i = 0; i < entries_; ++i)
            append_to(*writer_, where_, payload_);
        const double took = static_cast<double>(thread_cpu_ns() - start);
        readers_.await();
        return took / static_cast<double>(entries_);
    }

    struct wakes {
        double rings = 0;
        double sleeps = 0;
    };
    /// Bursts of entries, and time to fall asleep between them, until the reader slept at least once. As many at a time as
    /// fit in the region.
    wakes bursts(std::uint64_t least) {
        constexpr unsigned fillings_max = 10'000;
        wakes all;
        std::uint64_t done = 0;
        for (unsigned fillings = 0; done < least || all.sleeps == 0; ++fillings) {
            if (fillings == fillings_max)
                throw std::runtime_error("append: a reader that is to sleep does not");
            const auto [rings, sleeps] = bursts_that_fit(done, least);
            all.rings += rings;
            all.sleeps += sleeps;
        }
        return all;
    }

private:
    static constexpr std::uint64_t burst = 10;

    wakes bursts_that_fit(std::uint64_t& done, std::uint64_t least) {
        constexpr std::uint64_t pause_ns = 100'000;
        meeting& shared = readers_.shared();
        shared.place = 0;
        begin(doing::sleep, ~std::uint64_t{0});
        const std::uint64_t rings = writer_->doorbell_rings();
        std::uint64_t appended = 0;
        for (; (done < least || __atomic_load_n(&shared.place, __ATOMIC_ACQUIRE) == 0) && appended + burst < entries_;
             ++done) {
            for (const std::uint64_t until = now_ns() + pause_ns; now_ns() < until;) {
            }
            for (std::uint64_t k = 0; k < burst; ++k, ++appended)
                append_to(*writer_, where_, payload_);
        }
        __atomic_store_n(&shared.to[1], appended + 1, __ATOMIC_RELEASE);
        append_to(*writer_, where_, payload_);
        readers_.await();
        return {static_cast<double>(writer_->doorbell_rings() - rings), static_cast<double>(shared.place)};
    }

    /// Empties the region and has the readers take their places.
    void begin(doing what, std::uint64_t count) {
        where_ = must(writer_->clear(where_, true));
        meeting& shared = readers_.shared();
        shared.to[0] = static_cast<std::uint64_t>(what);
        shared.to[1] = count;
        tell(&shared.to[2], where_);
        shared.word = 0;
        readers_.ask();
        if (what == doing::keep_up || what == doing::sleep)
            while (__atomic_load_n(&shared.word, __ATOMIC_ACQUIRE) == 0) {
            }
        else
            readers_.await();
    }

    companion readers_;
    std::unique_ptr<writer> writer_;
    region where_;
    std::vector<std::byte> payload_;
    std::uint64_t entries_;
};

}  // namespace

void run_append_beside_readers(const settings& how, report& into) {
    const std::uint64_t size = how.sizes.empty() ? 64 : how.sizes.front();
    const scratch_stream stream(how.file, scene::region_bytes(how) + (std::uint64_t{1} << 20));
    scene here(how, stream.file(), size);
    row r{.workload = "append", .payload_bytes = size, .unit = "CPU ns/entry", .limit = "without readers"};
    const auto alone = [&] { return here.appends_beside(doing::leave, 0); };
    for (const unsigned count : how.readers.empty() ? std::vector<unsigned>{1, 10, 100, 1000} : how.readers) {
        const auto costs = in_turns(how.repetitions, {[&] { return here.appends_beside(doing::park, count); }, alone});
        r.variant = fmt::format("{} parked readers", count);
        r.readers = count;
        r.goal = 1.05;
        into.add(summarized(r, costs[0], costs[1]));
    }
    r.readers = 1;
    r.goal.reset();
    r.variant = "1 reader that keeps up";
    const auto spinning = in_turns(how.repetitions, {[&] { return here.appends_beside(doing::keep_up, 1); }, alone});
    into.add(summarized(r, spinning[0], spinning[1]));

    r.variant = "1 reader that sleeps";
    const auto asleep = in_turns(how.repetitions, {[&] { return here.appends_beside(doing::sleep, 1); }, alone});
    into.add(summarized(r, asleep[0], asleep[1]));

    std::vector<double> rings, sleeps;
    (void)in_turns(how.repetitions, {[&] {
                       const auto [rung, slept] = here.bursts(how.count(500));
                       rings.push_back(rung);
                       sleeps.push_back(slept);
                       return rung;
                   }});
    row per_sleep{.workload = "append", .variant = "wakes for 1 that sleeps", .payload_bytes = size};
    per_sleep.unit = "futex wakes";
    per_sleep.limit = "how often it slept";
    // It may be rung for just before it sleeps. A burst of large entries takes so long that it is about to sleep again
    // between any two of them.
    if (size <= 1024)
        per_sleep.goal = 1.05;
    per_sleep.readers = 1;
    into.add(summarized(per_sleep, rings, sleeps));
}

}  // namespace bench
