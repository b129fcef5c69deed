#include "tools/write/appender.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/run.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/text.hpp"

namespace pmemstream::tools {

void appender::suggest_stream(std::uint64_t stream_bytes, std::uint64_t block_bytes) {
    if (!options_.stream_bytes_given)
        options_.create.stream_bytes = stream_bytes;
    if (!options_.block_bytes_given)
        options_.create.block_bytes = block_bytes;
}

result<std::unique_ptr<writer>> appender::open_or_create() const {
    writer_options how;
    how.control_mode = options_.control_mode;
    how.returns_at = options_.durable ? horizon::persisted : horizon::committed;
    how.policy.every = options_.persist_every;
    how.pretouch_ahead_bytes = options_.pretouch_bytes;
    auto opened = writer::open(options_.stream, how);
    if (opened)
        return opened;
    std::error_code unknown;
    const bool on_device = std::filesystem::is_block_file(options_.stream, unknown);
    if (opened.error().code() != (on_device ? errc::not_a_stream : errc::not_found))
        return opened;
    const std::uint64_t stream_bytes = options_.create.stream_bytes.value_or(stream_bytes_default);
    if (!on_device && options_.region_bytes && *options_.region_bytes >= stream_bytes)
        fail(exit_code::no_room, "{}: a region of {} bytes in a stream of {}; the stream was not made",
             options_.stream.string(), *options_.region_bytes, stream_bytes);
    auto created = create(options_.stream, options_.create);
    // Somebody else may have been faster; then theirs is the stream.
    if (!created && (on_device || created.error().code() != errc::already_exists))
        return tl::unexpected(std::move(created.error()));
    return writer::open(options_.stream, how);
}

void appender::open() {
    bool told = false;
    for (;;) {
        auto opened = open_or_create();
        if (opened) {
            writer_ = std::move(*opened);
            break;
        }
        if (!options_.wait_for_lock || exit_code_of(opened.error().code()) != exit_code::busy)
            fail(opened.error());
        if (!std::exchange(told, true) && progress_.shown())
            note("{}; waiting", opened.error().message());
        if (!signals::sleep_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(20)))
            throw interrupted{signals::seen()};
    }
    if (const auto control = writer_->control_status(); !control)
        note("{}; waiting readers poll, and cannot register", control.error().message());
    if (const auto cut = writer_->recovery().regions_cut_before_whole_entries; cut != 0)
        note("{}: recovery cut {} region(s) before entries that look whole", options_.stream.string(), cut);
}

appender::target appender::allocate(std::string_view name, std::string_view called,
                                    std::optional<std::uint64_t> size_hint) {
    const auto info = writer_->info();
    // What identifies the region comes out of the free space too.
    const std::uint64_t overhead = region_overhead_bytes(name, options_.attributes);
    const std::uint64_t free = info.largest_free_bytes - std::min(info.largest_free_bytes, overhead);
    if (free == 0)
        fail(exit_code::no_room, "{}: no room for a region \"{}\": all of the stream's {} are taken",
             options_.stream.string(), printable(called), bytes_for_people(info.stream_bytes));
    // Half of what is free: others may follow, and nothing says how many. Less than a block is not worth halving.
    const std::uint64_t share = std::max(free / 2, std::min(free, info.block_bytes));
    const std::uint64_t bytes = options_.region_bytes ? *options_.region_bytes : size_hint.value_or(share);
    const auto made = writer_->allocate(bytes, name, options_.attributes);
    if (!made && made.error().code() == errc::too_large)
        fail(exit_code::no_room, "{}", made.error().message());
    if (!made)
        fail(made.error());
    const auto described = need(writer_->describe(*made));
    return {std::string(called), *made, described.size_bytes, false};
}

appender::target& appender::region_named(std::string_view name, std::optional<std::uint64_t> size_hint) {
    if (const auto known = targets_.find(name); known != targets_.end())
        return known->second;
    target made;
    if (const auto found = writer_->find(name)) {
        made = {std::string(name), *found, need(writer_->describe(*found)).size_bytes, true};
        if (options_.attributes != region_attributes() && options_.attributes != need(writer_->attributes(*found)))
            fail(exit_code::usage,
                 "{}: region \"{}\" is there already, with other attributes; they are fixed when a region is made",
                 options_.stream.string(), printable(name));
    } else if (found.error().code() == errc::not_found) {
        made = allocate(name, name, size_hint);
    } else {
        fail(found.error());
    }
    return targets_.emplace(std::string(name), std::move(made)).first->second;
}

appender::target& appender::region_labelled(std::string_view label, std::optional<std::uint64_t> size_hint) {
    if (const auto known = labelled_.find(label); known != labelled_.end())
        return known->second;
    return labelled_.emplace(std::string(label), allocate({}, label, size_hint)).first->second;
}

void appender::wait_for_turn() {
    using clock = std::chrono::steady_clock;
    const auto step =
        std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(std::min(1 / *options_.pace, 1e9)));
    const auto now = clock::now();
    // A late wake-up is made up for; a pause of the input is not followed by a burst.
    if (!turn_ || *turn_ + std::chrono::milliseconds(100) + step < now)
        turn_ = now;
    if (*turn_ > now)
        (void)signals::sleep_until(*turn_);  // cut short, the entry is appended now: it was read
    *turn_ += step;
}

void appender::check_size(const target& to, std::uint64_t payload_bytes, std::string_view unit,
                          std::uint64_t number) const {
    if (payload_bytes > payload_bytes_max)
        fail(exit_code::bad_input, "{} {} has more than {} bytes, the most an entry holds; {} were appended before it",
             unit, number, payload_bytes_max, appended());
    if (payload_bytes > to.size_bytes)
        fail(exit_code::no_room,
             "region_full: {} {} of at least {} bytes is larger than region \"{}\" with {}; {} were appended", unit,
             number, payload_bytes, printable(to.name), bytes_for_people(to.size_bytes), appended());
}

void appender::append(target& to, std::span<const std::byte> payload, std::string_view unit, std::uint64_t number) {
    if (options_.pace)
        wait_for_turn();
    const auto done = writer_->append(to.where, payload);
    if (done) [[likely]] {
        ++entries_;
        bytes_ += payload.size();
        progress_.update(entries_, bytes_);
        return;
    }
    if (done.error().code() == errc::region_full)
        fail(exit_code::no_room,
             "region_full: {} {} of {} bytes does not fit in region \"{}\" ({}, of which {} are left; other regions "
             "can have {} "
             "of the stream); {} were appended",
             unit, number, payload.size(), printable(to.name), bytes_for_people(to.size_bytes),
             bytes_for_people(need(writer_->describe(to.where)).free_bytes()),
             bytes_for_people(writer_->info().free_bytes), appended());
    if (done.error().code() == errc::too_large)
        check_size(to, payload.size(), unit, number);
    fail(exit_code_of(done.error().code()), "{} {}: {}; {} were appended before it", unit, number,
         done.error().message(), appended());
}

std::string appender::appended() const {
    return fmt::format("{} {} ({})", entries_, entries_ == 1 ? "entry" : "entries", bytes_for_people(bytes_));
}

void appender::close() {
    if (!writer_)
        return;
    progress::clear_line();
    need(writer_->close());
    if (progress_.shown())
        note("{} appended", appended());
}

}  // namespace pmemstream::tools
