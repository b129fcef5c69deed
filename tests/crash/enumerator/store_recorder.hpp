#pragma once

#include "src/medium/seam.hpp"
#include "tests/crash/enumerator/recorder.hpp"
#include "tests/crash/enumerator/trace.hpp"

#include <csignal>
#include <cstdint>
#include <string>

namespace pmemstream::test {

/// Writes down every store to a writer's mapping, whatever code makes it, and every flush, drain and sync.
///
/// Stores are caught by the processor: the mapping is kept read-only, a store faults, is let through alone with the trap
/// flag set, and what it changed is found by comparing its surroundings with a copy. So nothing has to be said in the
/// library, no store can be forgotten, and a word that changes twice is seen twice. What was not seen all the same
/// (another thread's store beside the one let through) is found by comparing all of the mapping at every flush, drain
/// and sync: the recording fails.
///
/// One at a time, in one thread; on x86-64 alone.
class store_recorder : public medium::observer, public recorder {
public:
    store_recorder();
    ~store_recorder() override;
    store_recorder(const store_recorder&) = delete;
    store_recorder& operator=(const store_recorder&) = delete;

    void begin(trace& to, const mapped_file& file, image content) override;
    void end() override;
    void mark(std::uint64_t state) override;

    void mapped(const medium::mapping& m) override;
    void unmapped(const medium::mapping& m) override;
    void flush(const medium::mapping& m, std::uint64_t offset, std::uint64_t bytes) override;
    void drain(const medium::mapping& m) override;
    bool copy(const medium::mapping& m, std::uint64_t offset, const void* from, std::size_t bytes) override;
    int sync(const medium::mapping& m, std::span<const medium::mapping::range> ranges) override;

private:
    static void on_fault(int signal, siginfo_t* info, void* context);
    static void on_trap(int signal, siginfo_t* info, void* context);
    void note_changes(std::uint64_t begin, std::uint64_t end);
    void compare_all(const char* when);
    void protect(bool on) noexcept;

    trace* to_ = nullptr;
    image content_;
    const medium::mapping* mapping_ = nullptr;
    std::byte* data_ = nullptr;
    medium::byte_range copied_;  // past the caches, since the last drain
    std::string escaped_;
    std::uint64_t fault_at_ = 0;
    std::uint64_t instruction_ = 0;
    struct sigaction fault_before_ {};
    struct sigaction trap_before_ {};
};

}  // namespace pmemstream::test
