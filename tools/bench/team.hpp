#pragma once

#include "tools/bench/measure.hpp"

#include <atomic>
#include <thread>
#include <vector>

namespace bench {

/// Has `threads` threads, of which the caller is one, do the same work, and returns the nanoseconds until the last is
/// done. Making them is no part of it: they begin when all are there. `work` throws nothing.
template <class Work>
double together(unsigned threads, const Work& work) {
    std::atomic<unsigned> there{0};
    const auto meet = [&](unsigned how_many) {
        for (unsigned now = there; now < how_many; now = there)
            there.wait(now);
    };
    std::vector<std::thread> others;
    for (unsigned t = 1; t < threads; ++t)
        others.emplace_back([&] {
            ++there;
            there.notify_all();
            meet(threads);
            work();
        });
    meet(threads - 1);
    const auto begin = clock::now();
    ++there;
    there.notify_all();
    work();
    for (auto& t : others)
        t.join();
    return ns_since(begin);
}

}  // namespace bench
