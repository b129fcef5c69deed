#pragma once

#include "tools/bench/histogram.hpp"

#include <sys/types.h>
#include <array>
#include <cstdint>
#include <functional>

namespace bench {

/// Memory that both processes have, made before the second one begins. Each counter is stored by one side alone.
struct meeting {
    alignas(128) std::uint32_t asked = 0;              ///< by the first process: how many steps the second one may do
    alignas(128) std::uint32_t done = 0;               ///< by the second: how many it did
    alignas(128) std::array<std::uint64_t, 8> to{};    ///< what the first one tells with a step
    alignas(128) std::array<std::uint64_t, 8> from{};  ///< what the second one tells when it did it
    alignas(128) std::uint64_t place = 0;              ///< for the measurement itself
    alignas(128) std::uint32_t word = 0;               ///< likewise
    std::uint32_t leave = 0;                           ///< by the first: instead of a step
    alignas(128) histogram times;
    std::array<char, 512> failure{};
};

/// A second process on its own CPU, which waits for steps. It dies with this one, and is killed by the destructor. When
/// it ends by itself this process ends too, with a message: what spins for something that never comes, in the library
/// or in a limit, must not look at anything else meanwhile. Make it before this process opens a writer or starts a thread.
class companion {
public:
    /// In the second process, `body` opens what is needed and gives what to do in each step.
    using step = std::function<void(meeting&)>;
    companion(int cpu, const std::function<step()>& body);
    ~companion();
    companion(const companion&) = delete;
    companion& operator=(const companion&) = delete;

    [[nodiscard]] meeting& shared() const noexcept { return *shared_; }
    /// Lets it do a step, and returns at once.
    void ask() noexcept;
    /// Until it has done all it was asked for.
    void await() const noexcept;
    /// The same, leaving the CPU to others meanwhile.
    void await_asleep() const noexcept;
    /// Lets it leave by exit(), for those who have others to say goodbye to. Nothing may be asked of it any more.
    void dismiss() noexcept;
    void ask_and_await() noexcept {
        ask();
        await();
    }

private:
    void forget() noexcept;
    [[noreturn]] void live(int cpu, pid_t parent, const std::function<step()>& body) const;

    meeting* shared_ = nullptr;
    pid_t pid_ = -1;
};

}  // namespace bench
