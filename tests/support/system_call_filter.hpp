#pragma once

namespace pmemstream::test {

/// From the return of this on, any system call of the calling thread, even its exit, kills the process with SIGSYS.
/// Other threads are as free as before.
void forbid_system_calls_to_this_thread();

/// From now on futex waits (or membarrier) answer ENOSYS to this thread and those it starts, as on a kernel without.
void forget_futex_wait();
void forget_membarrier();

}  // namespace pmemstream::test
