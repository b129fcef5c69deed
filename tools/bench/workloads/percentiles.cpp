#include "tools/bench/workloads/percentiles.hpp"

#include "tools/bench/measure.hpp"

#include <array>

namespace bench {

namespace {

struct level {
    const char* name;
    double fraction;
};
constexpr std::array levels{level{"p50", 0.5}, level{"p90", 0.9}, level{"p99", 0.99}, level{"p99.9", 0.999},
                            level{"p99.99", 0.9999}};

}  // namespace

percentile_rows::percentile_rows(std::string workload, std::string variant, std::uint64_t payload_bytes,
                                 std::string unit, std::string limit)
    : thing_(std::make_unique<series>()), limit_(std::make_unique<series>()) {
    like_.workload = std::move(workload);
    like_.variant = std::move(variant);
    like_.payload_bytes = payload_bytes;
    like_.unit = std::move(unit);
    like_.limit = std::move(limit);
}

void percentile_rows::measure(unsigned repetitions, const fill& thing, const fill& limit, unsigned slices) {
    const auto one = std::make_unique<histogram>();
    const auto keep_slice = [&](series& to) {
        to.turn.merge(*one);
        if (++to.slices < slices)
            return;
        to.percentiles.resize(levels.size());
        for (std::size_t i = 0; i < levels.size(); ++i)
            to.percentiles[i].push_back(static_cast<double>(to.turn.percentile(levels[i].fraction)));
        to.all.merge(to.turn);
        to.turn.clear();
        to.slices = 0;
    };
    unsigned done = 0;
    const auto turn_of = [&](const fill& with, series& to) {
        return [&, with] {
            with(*one);
            if (done++ >= 2)  // after the round that only warms up
                keep_slice(to);
            return 0.0;
        };
    };
    (void)in_turns(repetitions * slices, {turn_of(thing, *thing_), turn_of(limit, *limit_)});
}

void percentile_rows::add_to(report& into, const goals& wanted, double greatest) const {
    for (std::size_t i = 0; i < levels.size() && levels[i].fraction <= greatest; ++i) {
        row r = like_;
        r.variant += std::string(", ") + levels[i].name;
        const auto is = [&](double fraction) { return levels[i].fraction == fraction; };
        r.goal = is(0.5) ? wanted.p50 : is(0.99) ? wanted.p99 : is(0.999) ? wanted.p99_9 : std::nullopt;
        into.add(summarized(r, thing_->percentiles[i], limit_->percentiles[i]));
    }
    into.add(distribution{like_.workload, like_.variant, like_.payload_bytes, thing_->all, limit_->all});
}

}  // namespace bench
