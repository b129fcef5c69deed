#include "tests/support/system_call_filter.hpp"

#include "tests/support/eventually.hpp"

#include <linux/futex.h>
#include <seccomp.h>
#include <cerrno>

namespace pmemstream::test {

// The filters' own memory is left to the process: releasing it would be a system call for the first, perhaps.

void forbid_system_calls_to_this_thread() {
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    demand(filter != nullptr && seccomp_load(filter) == 0, "loading a filter that kills on any system call");
}

void forget_futex_wait() {
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    demand(filter != nullptr &&
               seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(futex), 1, SCMP_A1(SCMP_CMP_EQ, FUTEX_WAIT)) ==
                   0 &&
               seccomp_load(filter) == 0,
           "loading a filter that refuses futex waits");
}

void forget_membarrier() {
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    demand(filter != nullptr && seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(membarrier), 0) == 0 &&
               seccomp_load(filter) == 0,
           "loading a filter that refuses membarrier");
}

}  // namespace pmemstream::test
