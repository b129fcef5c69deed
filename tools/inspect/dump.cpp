#include "tools/common/exit_code.hpp"
#include "tools/common/progress.hpp"
#include "tools/common/run.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/stream_access.hpp"
#include "tools/common/text.hpp"
#include "tools/inspect/commands.hpp"
#include "tools/inspect/entry_printer.hpp"

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <variant>
#include <vector>

namespace pmemstream::tools {

namespace {

using start = inspect_options::start;

/// How long a wait may keep signals and a pipe's end from being noticed. Entries are seen at once all the same.
constexpr std::chrono::milliseconds look_up{100};
constexpr std::chrono::seconds clearing_takes{2};
constexpr std::uint64_t entries_between_looks = 1024;
constexpr std::uint64_t tail_entries = 10;

/// A cursor over one region or all: what both can.
class any_cursor {
public:
    any_cursor(const reader& from, const std::optional<region>& where, const cursor_options& how)
        : cursor_(where ? decltype(cursor_)(need(from.follow(*where, how))) : need(from.follow_all(how))) {}

    [[nodiscard]] result<std::optional<entry>> next() noexcept {
        return std::visit([](auto& c) noexcept { return c.next(); }, cursor_);
    }
    [[nodiscard]] result<std::optional<entry>> wait(std::chrono::nanoseconds timeout) noexcept {
        return std::visit([timeout](auto& c) noexcept { return c.wait(timeout); }, cursor_);
    }

private:
    std::variant<cursor, merged_cursor> cursor_;
};

/// Where the last `count` entries begin. There is no way back from the end: it goes over all headers.
start_at last_entries(const reader& from, const std::optional<region>& where, horizon horizon, std::uint64_t count) {
    if (count == 0)
        return from_newest{};
    cursor_options how;
    how.horizon = horizon;
    how.registered = false;
    any_cursor all(from, where, how);
    std::vector<sequence> seen;  // a ring
    std::uint64_t passed = 0;
    for (;;) {
        const auto got = all.next();
        if (!got && got.error().code() == errc::region_gone && !where)
            continue;
        if (!got || !*got)
            break;  // damage is told when it is its turn to be shown
        if (seen.size() < count)
            seen.push_back((*got)->sequence());
        else
            seen[passed % count] = (*got)->sequence();
        ++passed;
    }
    if (passed < count)
        return from_oldest{};
    return after{sequence{to_uint(seen[passed % count]) - 1}};
}

class follower {
public:
    follower(const reader& from, const inspect_options& options, output& out)
        : from_(from),
          options_(options),
          out_(out),
          printer_(from, options, out),
          progress_(!options.follow && ::isatty(STDOUT_FILENO) != 1) {}

    void run();

private:
    void begin();
    /// Goes on where that is possible, or ends the tool.
    void go_on_after(const error& why);
    void look_at_control();

    const reader& from_;
    const inspect_options& options_;
    output& out_;
    entry_printer printer_;
    progress progress_;
    std::optional<region_info> region_;
    std::optional<any_cursor> cursor_;
    std::optional<std::uint64_t> count_;
    sequence upto_ = sequence::none;
    control_state control_ = control_state::absent;
};

void follower::begin() {
    cursor_options how;
    how.check_crc = true;
    how.horizon = options_.horizon;
    count_ = options_.count;
    if (options_.region)
        region_ = need_region(from_, *options_.region);
    const auto where = region_ ? std::optional(region_->handle) : std::nullopt;
    // Else a dump might run after a fast writer for ever.
    if (options_.horizon == horizon::persisted)
        upto_ = region_ ? region_->persisted : from_.persisted();
    else
        upto_ = region_ ? region_->committed : from_.committed();
    switch (options_.from) {
        case start::oldest:
            break;
        case start::newest:
            how.start = from_newest{};
            break;
        case start::offset:
            how.start = at_offset{options_.at};
            break;
        case start::after:
            how.start = after{options_.behind};
            break;
        case start::standard:
            if (options_.command == inspect_command::tail) {
                how.start = last_entries(from_, where, options_.horizon, options_.count.value_or(tail_entries));
                count_.reset();
            }
            break;
    }
    printer_.begin();
    cursor_.emplace(from_, where, how);
}

void follower::go_on_after(const error& why) {
    if (why.code() != errc::region_gone)
        fail(why);
    if (!region_) {
        out_.flush();
        note("{}; going on with the others", why.message());
        return;
    }
    // A region that was cleared goes on under its name, a moment later: its emptiness is made durable first.
    const auto patience = std::chrono::steady_clock::now() + clearing_takes;
    std::optional<region_info> found;
    while (options_.follow && std::chrono::steady_clock::now() < patience) {
        found = find_region(from_, *options_.region);
        if (found)
            break;
        if (!signals::sleep_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(5)))
            throw interrupted{signals::seen()};
    }
    if (!found || found->handle == region_->handle)
        fail(why);
    out_.flush();
    note("region \"{}\" was cleared; going on with what it holds now", printable(*options_.region));
    region_ = std::move(found);
    cursor_options how;
    how.check_crc = true;
    how.horizon = options_.horizon;
    cursor_.emplace(from_, region_->handle, how);
}

void follower::look_at_control() {
    const control_state now = from_.control();
    if (now == control_state::lost && control_ != control_state::lost)
        note("{}: control_lost: the control file was truncated; going on without it, a little slower",
             from_.info().file.string());
    control_ = now;
}

void follower::run() {
    begin();
    while (!count_ || printer_.entries() < *count_) {
        auto got = cursor_->next();
        if (got && !*got) {
            if (!options_.follow)
                return;
            // Idle: everything shown so far is to be seen before the wait.
            out_.flush();
            out_.check_reader();
            look_at_control();
            if (signals::look() != 0)
                return;
            got = cursor_->wait(look_up);
            if (got && !*got)
                continue;
        }
        if (!got) {
            go_on_after(got.error());
            continue;
        }
        if (!options_.follow && (*got)->sequence() > upto_)
            return;
        if (!printer_.show(**got))
            continue;  // the cursor's next answer tells why
        if (options_.follow && printer_.entries() % entries_between_looks == 0 && signals::look() != 0)
            return;
        progress_.update(printer_.entries(), printer_.bytes());
    }
}

}  // namespace

void show_entries(const reader& from, const inspect_options& options, output& out) {
    follower(from, options, out).run();
}

}  // namespace pmemstream::tools
