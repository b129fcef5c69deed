#include "tests/crash/enumerator/run.hpp"

#include "src/durability/flusher.hpp"
#include "src/format/validate.hpp"
#include "src/log/housekeeper.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

namespace pmemstream::test {

namespace {

constexpr std::uint64_t stream_bytes = 64 << 10;

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

}  // namespace

const char* to_string(medium_kind on) {
    return on == medium_kind::lines ? "lines" : "sectors";
}

void run(const run_request& request, run_result& result) {
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t seed = request.seed;
    try {
        log::without_threads = true;
        durability::words_bytes_max = request.what->words_at_once ? 0 : std::uint64_t{16} << 20;
        if (request.on == medium_kind::lines)
            ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
        const temp_dir directory("/dev/shm");
        store_recorder recorder;
        explorer looking(directory.path(), stream_bytes, recorder);
        looking.after_crash = go_on_after_crash;
        looking.limits.unit_bytes = request.on == medium_kind::lines ? 64 : 512;
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
        while (looking.counts().images < request.images_wanted) {
            seed = request.seed + result.rounds++;
            recording made;
            {
                auto base = fresh_stream(directory.path(), seed);
                if (request.what->before != nullptr)
                    request.what->before(base);
                stage s(looking.file(0), recorder, std::move(base), {}, seed);
                request.what->run(s);
                made = s.finish();
            }
            looking.explore(made, seed);
            result.counts = looking.counts();
        }
    } catch (const std::exception& e) {
        fmt::format_to_n(result.failure, run_result::failure_max, "round with seed {}: {}", seed, e.what());
    }
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace pmemstream::test
