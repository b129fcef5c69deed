// Which way pages are made durable, who decides, and who is told.
#include "src/medium/page_syncer.hpp"
#include "src/medium/sync_ring.hpp"
#include "tests/support/child.hpp"
#include "tests/support/small_stream.hpp"

#include <doctest/doctest.h>
#include <seccomp.h>
#include <signal.h>
#include <ucontext.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

const page_sync if_kernel_allows = medium::sync_ring::built_in ? page_sync::automatic : page_sync::system_calls;

struct environment {
    explicit environment(const char* value) { ::setenv("PMEMSTREAM_SYNC", value, 1); }
    ~environment() { ::unsetenv("PMEMSTREAM_SYNC"); }
    environment(const environment&) = delete;
    environment& operator=(const environment&) = delete;
};

writer_options wanting(page_sync sync_by) {
    return {.sync_by = sync_by, .without_control = true};
}

/// What a writer that wants this comes to, as its readers are told.
std::optional<page_sync> found(const small_stream& stream, page_sync wanted) {
    const auto to = must(writer::open(stream.file, wanting(wanted)));
    CHECK(to->info().synced_by == stream.read().info().synced_by);
    const region a = must(to->allocate(1000)), b = must(to->allocate(1000));
    must(to->append(a, bytes_of("x")));
    must(to->append(b, bytes_of("y")));
    must(to->persist());
    return to->info().synced_by;
}

#if defined(__x86_64__)
TEST_CASE("a sync that a signal ends early is asked for again") {
    for (const std::size_t ranges : {1, 2}) {
        CAPTURE(ranges);
        child syncing([&] {
            static int calls = 0;
            struct sigaction action {};
            action.sa_flags = SA_SIGINFO;
            action.sa_sigaction = [](int, siginfo_t*, void* context) {
                // The first is interrupted, the second is done.
                static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = ++calls == 1 ? -EINTR : 0;
            };
            const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
            if (::sigaction(SIGSYS, &action, nullptr) != 0 || filter == nullptr ||
                seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(msync), 0) != 0 ||
                seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(fdatasync), 0) != 0 || seccomp_load(filter) != 0)
                return 2;
            static std::byte data[8192];
            static constexpr medium::byte_range both[] = {{0, 1}, {4096, 1}};
            medium::page_syncer syncer;
            const int code = syncer.sync(data, -1, std::span(both).first(ranges), medium::elsewhere::clean);
            return code == 0 && calls == 2 ? 0 : 1;
        });
        CHECK(syncing.wait().code == 0);
    }
}
#endif

TEST_CASE("the writer's option decides, then the environment, then what is fastest") {
    const small_stream stream;
    CHECK_FALSE(stream.read().info().synced_by.has_value());
    CHECK(found(stream, page_sync::automatic) == if_kernel_allows);
    CHECK(found(stream, page_sync::system_calls) == page_sync::system_calls);
    {
        const environment set("system_calls");
        CHECK(found(stream, page_sync::automatic) == page_sync::system_calls);
    }
    {
        const environment set("automatic");
        CHECK(found(stream, page_sync::automatic) == if_kernel_allows);
    }
    {
        const environment set("mmap");
        const auto refused = writer::open(stream.file, wanting(page_sync::automatic));
        CHECK(code_of(refused) == "invalid_argument");
        CHECK(message_of(refused).find("\"mmap\"") != std::string::npos);
        CHECK(found(stream, page_sync::system_calls) == page_sync::system_calls);
    }
    // What stays in the header is told without a writer, too.
    CHECK(stream.read().info().synced_by == page_sync::system_calls);
}

TEST_CASE("io_uring alone is used when it is asked for, or refused with the reason") {
    const small_stream stream;
    if (medium::sync_ring::built_in) {
        CHECK(found(stream, page_sync::io_uring) == page_sync::io_uring);
        const environment set("io_uring");
        CHECK(found(stream, page_sync::automatic) == page_sync::io_uring);
        CHECK(found(stream, page_sync::system_calls) == page_sync::system_calls);
    } else {
        const auto refused = writer::open(stream.file, wanting(page_sync::io_uring));
        CHECK(code_of(refused) == "io");
        CHECK(message_of(refused).find("without") != std::string::npos);
    }
}

TEST_CASE("where the kernel forbids io_uring, streams are written with system calls, and say so") {
    const small_stream stream;
    child forbidden([&] {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        if (filter == nullptr || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) != 0 ||
            seccomp_load(filter) != 0)
            return 2;
        seccomp_release(filter);
        if (found(stream, page_sync::automatic) != page_sync::system_calls)
            return 3;
        const auto refused = writer::open(stream.file, wanting(page_sync::io_uring));
        const bool told = !refused &&
                          refused.error().system_error() == (medium::sync_ring::built_in ? EPERM : ENOSYS) &&
                          message_of(refused).find("io_uring") != std::string::npos;
        return told ? 0 : 4;
    });
    CHECK(forbidden.wait().code == 0);
    CHECK(stream.read().info().synced_by == page_sync::system_calls);
}

TEST_CASE("where io_uring takes nothing any more, what was asked of it is synced with system calls") {
    if (!medium::sync_ring::built_in)
        return;
    const small_stream stream;
    child syncing([&] {
        const auto to = must(writer::open(stream.file, wanting(page_sync::io_uring)));
        const region a = must(to->allocate(1000)), b = must(to->allocate(1000));
        must(to->persist());
        const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        if (filter == nullptr || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAGAIN), SCMP_SYS(io_uring_enter), 0) != 0 ||
            seccomp_load(filter) != 0)
            return 2;
        for (int round = 0; round < 2; ++round) {
            must(to->append(a, bytes_of("x")));
            must(to->append(b, bytes_of("y")));
            must(to->persist());
            if (to->persisted() != to->committed())
                return 3;
        }
        return 0;
    });
    CHECK(syncing.wait().code == 0);
}

TEST_CASE("a medium that makes single stores durable syncs no pages") {
    ::setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
    const small_stream stream;
    CHECK_FALSE(found(stream, page_sync::io_uring).has_value());
    CHECK_FALSE(stream.read().info().synced_by.has_value());
    ::unsetenv("PMEM2_FORCE_GRANULARITY");
}

}  // namespace
