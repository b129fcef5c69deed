#include "tests/crash/enumerator/mutants.hpp"

#include <array>

namespace pmemstream::test {

namespace {

using base::mutant;

constexpr std::array all{
    mutant_case{mutant::magic_first, "magic_first", "create"},
    mutant_case{mutant::magic_ignored, "magic_ignored", "create"},
    mutant_case{mutant::segment_not_durable, "segment_not_durable", "table_segment"},
    mutant_case{mutant::link_ignored, "link_ignored", "table_segment"},
    mutant_case{mutant::end_not_zeroed, "end_not_zeroed", "append"},
    mutant_case{mutant::zeros_not_durable, "zeros_not_durable", "append", true},
    mutant_case{mutant::slot_not_durable, "slot_not_durable", "allocate"},
    mutant_case{mutant::extent_not_durable, "extent_not_durable", "allocate"},
    mutant_case{mutant::entries_not_durable, "entries_not_durable", "append"},
    mutant_case{mutant::scan_from_commit, "scan_from_commit", "append"},
    mutant_case{mutant::identity_first, "identity_first", "append", true},
    mutant_case{mutant::identity_ignored, "identity_ignored", "append"},
    mutant_case{mutant::epoch_not_durable, "epoch_not_durable", "reopen"},
    mutant_case{mutant::epoch_order_ignored, "epoch_order_ignored", "two_epochs"},
    mutant_case{mutant::clean_first, "clean_first", "clean_close", true},
    mutant_case{mutant::clean_for_ever, "clean_for_ever", "reopen"},
    mutant_case{mutant::table_not_flushed, "table_not_flushed", "clear", true},
    mutant_case{mutant::sequence_not_durable, "sequence_not_durable", "free"},
    mutant_case{mutant::header_sequences_ignored, "header_sequences_ignored", "free"},
    mutant_case{mutant::state_not_durable, "state_not_durable", "free"},
    mutant_case{mutant::generation_not_in_crc, "generation_not_in_crc", "other_generation"},
    mutant_case{mutant::uuid_not_in_crc, "uuid_not_in_crc", "other_stream"},
    mutant_case{mutant::epoch_high_bits_not_in_crc, "epoch_high_bits_not_in_crc", "other_epoch"},
    mutant_case{mutant::features_not_durable, "features_not_durable", "features"},
    mutant_case{mutant::persisted_epoch_ignored, "persisted_epoch_ignored", "two_epochs"},
    mutant_case{mutant::zeros_passed_over, "zeros_passed_over", "append"},
    mutant_case{mutant::commit_offsets_believed, "commit_offsets_believed", "append", true},
    mutant_case{mutant::state_word_ignored, "state_word_ignored", "free"},
    mutant_case{mutant::header_taken_for_durable, "header_taken_for_durable", "past_caches", false, true},
    mutant_case{mutant::tail_taken_for_durable, "tail_taken_for_durable", "past_caches", false, true},
};
static_assert(all.size() == static_cast<std::size_t>(mutant::offset_before_entry) - 1, "a mutant that nobody runs");

}  // namespace

std::span<const mutant_case> mutant_cases() {
    return all;
}

}  // namespace pmemstream::test
