#include "tools/bench/workload.hpp"

#include <array>

namespace bench {

std::span<const workload> workloads() {
    static constexpr std::array all{
        workload{"append", "appending, alone and beside readers", true, run_append},
        workload{"durable", "appending and waiting for persisted", true, run_durable},
        workload{"read", "a cursor's walk over what is there", true, run_read},
        workload{"stream", "one process appends, another follows", true, run_stream},
        workload{"latency", "echo between two processes; append to seen", true, run_latency},
        workload{"wake", "append to a sleeping reader's first step", true, run_wake},
        workload{"open", "creating and opening, after a kill too", true, run_open},
        workload{"jitter", "the longest gaps of an appending thread", false, run_jitter},
        workload{"peers", "other logs and queues with the same entries", false, run_peers},
    };
    return all;
}

void run_durable(const settings& how, report& into) {
    run_durable_lines(how, into);
    run_durable_pages(how, into);
}

void run_latency(const settings& how, report& into) {
    run_echo(how, into);
    run_seen(how, into);
}

}  // namespace bench
