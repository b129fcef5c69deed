#pragma once

#include "ipc/reader_control.hpp"
#include "src/reader/copy_up_watch.hpp"
#include "src/reader/entry_walk.hpp"
#include "src/stream/region_table.hpp"
#include "src/stream/stream_file.hpp"

#include <pmemstream/reader.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace pmemstream {

/// Shared by a reader, its copies and its cursors.
struct reader::impl {
    std::shared_ptr<core::stream_file> file;
    std::unique_ptr<core::copy_up_watch> copy_up;  // null where it cannot happen
    std::shared_ptr<ipc::reader_control> control;
    std::uint64_t epoch_at_open = 0;
    bool unrecovered = false;  // entries are shown only with their CRC checked
    std::mutex mutex;          // over table, which grows as the links are followed
    core::region_table table;
    std::map<std::pair<std::uint32_t, std::uint64_t>, detail::generation_view> views;  // for entries to point to

    /// A copy of the table as it is now. Errors: corrupt.
    [[nodiscard]] result<core::region_table> current_table();
    /// What `question` answers of the table as it is now; see stream_file::ask().
    template <class Question>
    [[nodiscard]] auto ask(const Question& question) -> decltype(question(table)) {
        return file->ask([&]() -> decltype(question(table)) {
            auto now = current_table();
            if (!now)
                return tl::unexpected(std::move(now.error()));
            return question(std::as_const(*now));
        });
    }
    /// A walk over a live region, at its oldest entry. Errors: region_gone, corrupt.
    [[nodiscard]] result<entry_walk> walk(const core::region_table& now, region where, horizon horizon, bool check_crc);
    /// The same, where a cursor with these options starts. Errors: invalid_offset too.
    [[nodiscard]] result<entry_walk> start_walk(const core::region_table& now, region where,
                                                const cursor_options& options);
    [[nodiscard]] const detail::generation_view& view(const format::region_slot& slot, region where);
};

}  // namespace pmemstream
