#include <pmemstream/detail/kill_point.hpp>

#ifdef PMEMSTREAM_TEST_HOOKS
#include "src/base/mutant.hpp"

#include <csignal>
#include <cstdlib>

namespace pmemstream::base {

namespace {
struct armed {
    unsigned point = 0;
    unsigned long countdown = 0;

    armed() noexcept {
        // NUMBER:TIMES; anything else leaves it unarmed.
        const char* text = std::getenv("PMEMSTREAM_KILL");
        if (text == nullptr)
            return;
        char* rest = nullptr;
        const unsigned long number = std::strtoul(text, &rest, 10);
        if (*rest != ':')
            return;
        point = static_cast<unsigned>(number);
        countdown = std::strtoul(rest + 1, nullptr, 10);
    }
};
}  // namespace

void die_at(kill_point here) noexcept {
    static armed state;
    if (stepping_in != nullptr)
        stepping_in(here);
    if (static_cast<unsigned>(here) == state.point && state.countdown > 0 && --state.countdown == 0)
        std::raise(SIGKILL);
}

bool state_word_first() noexcept {
    return mutated(mutant::validity_before_header);
}

}  // namespace pmemstream::base
#endif
