#pragma once

#include "src/base/mutant.hpp"

#include <pmemstream/detail/kill_point.hpp>

namespace pmemstream::base {

/// Two steps whose order a label fixes, with the place between them at which a test lets the other side act. The mutant
/// does them in the wrong order.
template <class First, class Second>
void in_order(mutant swapped, kill_point between, const First& first, const Second& second) {
    if (mutated(swapped)) {
        second();
        die_at(between);
        first();
        return;
    }
    first();
    die_at(between);
    second();
}

}  // namespace pmemstream::base
