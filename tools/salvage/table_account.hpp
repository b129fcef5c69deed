#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

namespace pmemstream::tools {

/// Which regions a stream ever had, as far as a damaged table and the extent headers tell. Generations are given one by
/// one, from 1, and slots are taken in order; so what is missing leaves a gap, except at the end. (So does what was cleared
/// or whose slot was used again; where no slot is lost, a gap is nothing but that.)
struct table_account {
    std::set<std::uint64_t> generations = {};  ///< of which a slot or an extent header tells
    std::size_t slots_lost = 0;                ///< were used, and lead to no region
    std::size_t regions_taken = 0;             ///< without a slot: as many lost ones may have been theirs
    bool generation_lost = false;              ///< a lost slot tells of one of which nothing else does
    bool end_known = false;                    ///< no slot was used behind the last one that is known to be

    [[nodiscard]] bool is_for_all() const noexcept {
        const bool no_gap = generations.empty() || *generations.rbegin() == generations.size();
        return end_known && !generation_lost && (slots_lost == 0 || (slots_lost <= regions_taken && no_gap));
    }
};

}  // namespace pmemstream::tools
