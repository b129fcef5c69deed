#pragma once

#include "tests/support/small_stream.hpp"

#include <random>
#include <utility>
#include <vector>

namespace pmemstream::test {

/// A writer that allocates, fills, clears and frees regions until it is killed.
[[noreturn]] inline int churn(const small_stream& stream) {
    const auto to = stream.write();
    std::mt19937_64 random(1);
    std::vector<region> held;
    const std::vector<std::byte> payload(300, std::byte{7});
    for (;;) {
        if (held.size() < 30)
            held.push_back(must(to->allocate(400 + random() % 9000, "")));
        auto& where = held[random() % held.size()];
        if (random() % 50 == 0)
            where = must(to->clear(where, true));
        else if (random() % 50 == 0 && must(to->describe(where)).used_bytes > 0) {
            must(to->free(where, true));
            std::swap(where, held.back());
            held.pop_back();
            continue;
        }
        for (int i = 0; i < 20; ++i)
            (void)to->append(where, std::span(payload).first(random() % 300));
    }
}

}  // namespace pmemstream::test
