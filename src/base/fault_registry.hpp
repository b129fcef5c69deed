#pragma once

#include <cstddef>
#include <cstdint>

// Which stretches of memory are mappings of ours, for the SIGBUS guard.
namespace pmemstream::base {

/// Registers itself for as long as it lives. When the guard is installed and a page of [begin, begin + bytes) cannot be
/// had, *fault_word gets fault_state::faulted and the rest of the mapping, from that page on, zeros.
class guarded_range {
public:
    guarded_range() noexcept = default;
    guarded_range(void* begin, std::size_t bytes, bool writable, std::uint32_t* fault_word) noexcept;
    guarded_range(guarded_range&& other) noexcept;
    guarded_range& operator=(guarded_range&& other) noexcept;
    ~guarded_range();

private:
    void drop() noexcept;
    int place_ = -1;
};

/// Puts the handler in place, once. Returns an errno value or 0.
int install_fault_handler() noexcept;

}  // namespace pmemstream::base
