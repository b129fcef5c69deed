#include "tests/crash/enumerator/run.hpp"

#include "src/durability/flusher.hpp"
#include "src/format/features.hpp"
#include "src/format/validate.hpp"
#include "src/medium/sync_ring.hpp"
#include "src/writer/housekeeper.hpp"
#include "tests/crash/enumerator/store_recorder.hpp"
#include "tests/crash/fuse/kernel_recorder.hpp"
#include "tests/crash/fuse/private_mounts.hpp"
#include "tests/crash/fuse/watched_fs.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/require.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace pmemstream::test {

namespace {

constexpr std::uint64_t stream_bytes = 64 << 10;
constexpr unsigned rounds_max = 10'000;

/// An empty stream. The seed is in its UUID, so that every run has the same one.
image fresh_stream(const std::filesystem::path& directory, std::uint64_t seed) {
    const auto file = directory / fmt::format("fresh_{}", seed);
    create_options options;
    options.stream_bytes = stream_bytes;
    options.block_bytes = 64;
    must(create(file, options));
    auto content = read_image(file);
    std::filesystem::remove(file);
    auto& block = *reinterpret_cast<format::superblock*>(content.data());
    std::memcpy(block.uuid.data(), &seed, sizeof seed);
    block.creation_ns = 0;
    block.crc = format::superblock_crc(block);
    return {content.begin(), content.end()};
}

/// Each way in which the library can ask the kernel to sync pages has its turn.
void choose_sync(std::uint64_t seed) {
    static const bool has_ring = [] {
        int why = 0;
        return medium::sync_ring::make(why) != nullptr;
    }();
    static constexpr std::array ways{"system_calls", "automatic", "io_uring"};
    ::setenv("PMEMSTREAM_SYNC", ways[seed % (has_ring ? 3 : 2)], 1);
}

/// Where a workload's files lie, and who writes down what is done to them.
class recording_place {
public:
    explicit recording_place(const run_request& request) {
        if (request.on == medium_kind::kernel)
            take_private_mounts();
        directory_.emplace("/dev/shm");
        if (request.on != medium_kind::kernel) {
            how_ = std::make_unique<store_recorder>();
            return;
        }
        fs_.emplace(*directory_ / "kernel");
        auto kernel = std::make_unique<kernel_recorder>(*fs_, request.seed);
        kernel_ = kernel.get();
        how_ = std::move(kernel);
    }
    [[nodiscard]] const std::filesystem::path& files() const { return fs_ ? fs_->path() : directory_->path(); }
    [[nodiscard]] const std::filesystem::path& scratch() const { return directory_->path(); }
    [[nodiscard]] recorder& how() const { return *how_; }
    void count(run_result& in) const {
        in.kernel_writes = kernel_ != nullptr ? kernel_->writes() : 0;
        in.kernel_syncs = kernel_ != nullptr ? kernel_->syncs() : 0;
    }

private:
    std::optional<temp_dir> directory_;
    std::optional<watched_fs> fs_;
    std::unique_ptr<recorder> how_;
    const kernel_recorder* kernel_ = nullptr;
};

}  // namespace

const char* to_string(medium_kind on) {
    static constexpr const char* names[] = {"lines", "sectors", "kernel"};
    return names[static_cast<unsigned>(on)];
}

void run(const run_request& request, run_result& result) {
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t seed = request.seed;
    try {
        core::without_threads = true;
        durability::words_bytes_max = request.what->words_at_once ? 0 : std::uint64_t{16} << 20;
        if (request.on == medium_kind::lines)
            ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
        const recording_place place(request);
        explorer looking(place.files(), place.scratch(), stream_bytes, place.how());
        looking.after_crash = go_on_after_crash;
        looking.limits.unit_bytes = request.on == medium_kind::lines ? 64 : 512;
        looking.limits.stores_per_point = request.what->stores_per_point;
        if (request.on == medium_kind::sectors)
            looking.limits.lost_pages = request.with == base::mutant::none ? 0.25 : 1;
        if (request.on == medium_kind::kernel)
            looking.limits.crashes_again = 6;  // a recording has few events
        if (!request.thorough) {
            looking.limits.exhaustive_units = 4;
            looking.limits.exhaustive_images = 24;
            looking.limits.samples = 2;
            looking.limits.crashes_again = 8;
            looking.limits.deaths_again = 2;
        }
        if (request.with != base::mutant::none)
            looking.limits.deaths_again *= 8;  // where most are noticed that need more than one crash
        base::active_mutant = request.with;
        format::known_features = format::raised_features = {};
        while (looking.counts().images < request.images_wanted) {
            require(result.rounds < rounds_max, "only {} of {} images after {} recordings", looking.counts().images,
                    request.images_wanted, rounds_max);
            seed = request.seed + result.rounds++;
            if (request.on == medium_kind::kernel)
                choose_sync(seed);
            recording made;
            {
                auto base = fresh_stream(place.scratch(), seed);
                if (request.what->before != nullptr)
                    request.what->before(base);
                stage s(looking.file(0), place.how(), std::move(base), {}, seed);
                request.what->run(s);
                made = s.finish();
            }
            looking.explore(made, seed);
            result.counts = looking.counts();
            place.count(result);
        }
        require(request.on != medium_kind::kernel || (result.kernel_writes != 0 && result.kernel_syncs != 0),
                "the kernel made {} writes and {} syncs", result.kernel_writes, result.kernel_syncs);
    } catch (const std::exception& e) {
        fmt::format_to_n(result.failure, run_result::failure_max, "round with seed {}: {}", seed, e.what());
    }
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace pmemstream::test
