#include "src/recovery/opening.hpp"

#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/features.hpp"
#include "src/format/words.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <sys/random.h>
#include <cerrno>

namespace pmemstream::core {

using base::load_relaxed;
using base::store_relaxed;
using base::store_release;

result<void> persist_identity(const stream_file& file) {
    return base::mutated(base::mutant::epoch_not_durable) ? result<void>() : file.persist(file.header().identity);
}

result<void> raise_features(stream_file& file) {
    auto& line = file.header().features;
    const auto before = format::read_features(line, file.name());
    if (!before)
        return tl::unexpected(before.error());
    bool raised = false;
    const auto raise = [&raised](std::uint64_t& word, std::uint32_t now, std::uint32_t wanted) {
        if ((now | wanted) == now)
            return;
        raised = true;
        // [V11] Before the epoch of the writer that uses the feature, and so before any entry of its. Pairs with [V12] in
        //       entry_walk.cpp.
        store_release(word, format::feature_word(now | wanted));
        base::die_at(base::kill_point::open_feature_raised);
    };
    const auto& wanted = format::raised_features;
    raise(line.compatible, before->compatible, wanted.compatible);
    raise(line.read_compatible, before->read_compatible, wanted.read_compatible);
    raise(line.incompatible, before->incompatible, wanted.incompatible);
    // [P23] A feature is durable before the epoch of the first writer that uses it. Pairs with [P24] in stream_file.cpp.
    //       Without it: after power loss a program that does not know the feature opens the stream and cuts, or calls
    //       corrupt, what it does not understand.
    if (!raised || base::mutated(base::mutant::features_not_durable))
        return {};
    return file.persist(line);
}

result<void> begin_lineage_change(stream_file& file, std::uint64_t epoch) {
    auto& identity = file.header().identity;
    std::uint64_t fresh = 0;
    while (fresh == 0 || fresh == identity.lineage || fresh == identity.previous_lineage)
        if (::getrandom(&fresh, sizeof fresh, 0) != static_cast<ssize_t>(sizeof fresh))
            return base::system_failure(errno, "{}: making a lineage", file.name());
    // Where a change was cut short, nobody has written under the lineage that it began: the one before stays.
    if (identity.lineage_pending == 0) {
        identity.previous_lineage = identity.lineage;
        identity.previous_epoch = epoch;
        store_release(identity.lineage_pending, 1u);
    }
    base::die_at(base::kill_point::open_lineage_begun);
    store_release(identity.lineage, fresh);
    return persist_identity(file);
}

result<void> end_lineage_change(stream_file& file) {
    auto& identity = file.header().identity;
    if (load_relaxed(identity.lineage_pending) == 0)
        return {};
    store_relaxed(identity.lineage_pending, 0u);
    return persist_identity(file);
}

void begin_table_changes(stream_file& file, std::uint64_t epoch) noexcept {
    // A writer counts on in the low half; no two epochs share a high one.
    store_release(file.header().features.table_changes, epoch << 32);
}

}  // namespace pmemstream::core
