// What the kernel does with a page whose write the disk refused: the sync that asked for it is told, once, and the page is
// clean. So whoever opens the stream after a writer that died of it must not take a sync that succeeds for a proof.
#include "src/base/mutant.hpp"
#include "tests/crash/fuse/private_mounts.hpp"
#include "tests/crash/fuse/watched_fs.hpp"
#include "tests/support/child.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/shared_memory.hpp"
#include "tests/support/small_stream.hpp"
#include "tests/support/temp_dir.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;
using base::mutant;

constexpr unsigned entries = 300;  // some pages
constexpr writer_options quiet{.without_control = true};

std::string text_number(unsigned number) {
    return "entry " + std::to_string(number) + std::string(80, '.');
}

/// What is on the disk, whatever the page cache holds.
file_image on_disk(const std::filesystem::path& file) {
    const base::unique_fd fd(::open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    file_image content(std::filesystem::file_size(file));
    for (std::size_t done = 0; done < content.size();) {
        const auto got = ::pread(fd.get(), content.data() + done, content.size() - done, static_cast<off_t>(done));
        demand(got > 0, "the disk cannot be read");
        done += static_cast<std::size_t>(got);
    }
    return content;
}

/// Drops the pages of a file from the memory, those that wait to be written after they were. False where that was refused.
bool drop_pages(const std::filesystem::path& file) {
    const base::unique_fd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    demand(static_cast<bool>(fd), "the stream cannot be opened");
    const bool written = ::fsync(fd.get()) == 0;
    demand(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0, "the pages stay in memory");
    return written;
}

/// With a stream whose writer was killed in a sync that is refused: the disk lacks what was to be synced, and takes writes
/// again. In a process of its own, whose mounts end with it.
struct refusing_disk {
    bool own_mounts = (take_private_mounts(), true);
    temp_dir dir{"/dev/shm"};
    watched_fs fs{dir / "disk"};
    std::filesystem::path file = fs.path() / "stream";

    refusing_disk() {
        must(create(file, {.stream_bytes = 1 << 20}));
        child dies([&] {
            const auto to = must(writer::open(file, quiet));
            const region where = must(to->allocate(200'000, "r"));
            for (unsigned i = 0; i < entries; ++i)
                must(to->append(where, bytes_of(text_number(i))));
            static watched_fs* disk = &fs;
            base::stepping_in = [](base::kill_point here) {
                if (here != base::kill_point::sync_refused)
                    return;
                disk->refuse_writes(0);
                ::raise(SIGKILL);
            };
            fs.refuse_writes(EIO);
            (void)to->persist();
            return 1;
        });
        const auto end = dies.wait();
        demand(end.signalled && end.code == SIGKILL, "the writer was told of the refusal, and lives");
    }
};

/// Runs in a process of its own: after that the next writer has one more entry persisted, and then power is lost. Gives 0
/// where all that was persisted is there.
int lose_power_after_a_refusal() {
    refusing_disk disk;
    const auto& file = disk.file;
    std::vector<std::string> expected;
    {
        const auto to = must(writer::open(file, quiet));
        demand(to->recovery().found == recovery_report::state::process_died, "it is known how the writer ended");
        must(to->append(must(to->find("r")), bytes_of("the last"), horizon::persisted));
        demand(to->persisted() == to->committed(), "everything is persisted");
        write_image(disk.dir / "left", on_disk(file));
        for (unsigned i = 0; i < entries; ++i)
            expected.push_back(text_number(i));
        expected.push_back("the last");
    }
    auto after = writer::open(disk.dir / "left", quiet);
    if (!after)
        return 2;
    const auto from = must(reader::open(disk.dir / "left", {.without_control = true}));
    auto cursor = must(from.follow(must(from.find("r"))));
    std::vector<std::string> seen;
    for (;;) {
        const auto got = cursor.next();
        if (!got || !*got)
            break;
        const auto payload = (*got)->payload();
        seen.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
    }
    return seen == expected ? 0 : 3;
}

/// The same, but that the pages have left the memory before the next writer comes, so that what they held is nowhere.
int find_the_pages_gone() {
    refusing_disk disk;
    const auto& file = disk.file;
    demand(drop_pages(file), "the pages stay in memory");
    {
        const auto to = must(writer::open(file, quiet));
        demand(to->recovery().found == recovery_report::state::process_died, "it is known how the writer ended");
        const auto refused = to->append(must(to->find("r")), bytes_of("the last"), horizon::persisted);
        demand(code_of(refused) == "io" && message_of(refused).find("a writer that died") != std::string::npos,
               "what is nowhere is persisted");
        demand(to->persisted() == sequence::none, "nothing is persisted");
    }
    const auto to = must(writer::open(file, quiet));
    demand(to->recovery().found == recovery_report::state::rescanned, "the refusal is not forgotten");
    demand(must(to->describe(must(to->find("r")))).used_bytes == 0, "what is nowhere is cut");
    must(to->append(must(to->find("r")), bytes_of("again"), horizon::persisted));
    return 0;
}

/// The disk takes entries and refuses header and table, of which the housekeeper is told; the writer dies when it is told
/// for the `refusals`-th time (the second: it has noted the first in the header), and the pages leave the memory: what the
/// disk has of header and table is of before. Gives 0 where all that was persisted is there.
int lose_the_header(unsigned refusals) {
    take_private_mounts();
    const temp_dir dir("/dev/shm");
    watched_fs fs(dir / "disk");
    const auto file = fs.path() / "stream";
    must(create(file, {.stream_bytes = 1 << 20}));
    constexpr std::uint32_t metadata_bytes = 8192;
    const shared_memory<std::atomic<unsigned>> persisted;
    child dies([&] {
        const auto to = must(writer::open(file, quiet));
        const region where = must(to->allocate(900'000, "r"));
        static std::atomic<unsigned> left = refusals;
        base::stepping_in = [](base::kill_point here) {
            if (here == base::kill_point::sync_refused && --left == 0)
                ::raise(SIGKILL);
        };
        for (unsigned i = 0; i < 8000; ++i) {
            if (i == entries)
                fs.refuse_writes(EIO, metadata_bytes);
            must(to->append(where, bytes_of(text_number(i))));
            if (i < entries)
                continue;
            must(to->persist());
            *persisted = i + 1;
            ::usleep(1000);
        }
        return 1;
    });
    const auto end = dies.wait();
    demand(end.signalled && end.code == SIGKILL, "the writer was told of no refusal");
    demand(*persisted > entries, "nothing was persisted behind what the header says");
    (void)drop_pages(file);  // what is refused may have been stored again
    fs.refuse_writes(0);
    std::vector<std::string> expected;
    for (unsigned i = 0; i < *persisted; ++i)
        expected.push_back(text_number(i));
    const auto to = must(writer::open(file, quiet));
    demand(to->recovery().found == recovery_report::state::process_died, "it is known how the writer ended");
    must(to->append(must(to->find("r")), bytes_of("the last"), horizon::persisted));
    auto seen = all_texts(must(reader::open(file, {.without_control = true})));
    demand(!seen.empty() && seen.back() == "the last", "what follows is not there");
    seen.pop_back();
    // One more may be there: the one that was about to be persisted.
    if (seen.size() == expected.size() + 1)
        expected.push_back(text_number(*persisted));
    return seen == expected ? 0 : 3;
}

}  // namespace

TEST_CASE("a writer dies of a header that was refused and is gone: all that was persisted is found behind it") {
    for (const unsigned refusals : {1u, 2u}) {
        CAPTURE(refusals);
        CHECK(child([&] { return lose_the_header(refusals); }).wait().code == 0);
        child believing([&] {
            base::active_mutant = mutant::commit_offsets_believed;
            return lose_the_header(refusals);
        });
        CHECK(believing.wait().code == 3);
    }
}

TEST_CASE("what a writer left that died of a refused sync, and that is nowhere any more, is not persisted, but cut") {
    CHECK(child(find_the_pages_gone).wait().code == 0);
}

TEST_CASE("what a writer left that died of a refused sync is on the disk before the next one calls it persisted") {
    CHECK(child(lose_power_after_a_refusal).wait().code == 0);
    // And this is what would happen otherwise.
    child believing([] {
        base::active_mutant = mutant::clean_pages_believed;
        return lose_power_after_a_refusal();
    });
    const auto end = believing.wait();
    CHECK(!end.signalled);
    CHECK((end.code == 2 || end.code == 3));
}
