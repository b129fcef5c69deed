#pragma once

namespace pmemstream::test {

/// From here on this process, and those it forks, see mounts of their own, with memory at /dev/shm: whatever they mount
/// or leave there goes with the last of them, however it ends. Without root it takes a kernel that grants user
/// namespaces. While the process has one thread. Throws std::system_error.
void take_private_mounts();

}  // namespace pmemstream::test
