#include "tools/write/sources.hpp"

#include "tools/common/exit_code.hpp"
#include "tools/common/frames.hpp"
#include "tools/common/run.hpp"
#include "tools/common/signals.hpp"
#include "tools/common/text.hpp"

#include <algorithm>
#include <cstring>
#include <pmemstream/reader.hpp>

namespace pmemstream::tools {

namespace {

stop stop_for(input::got got) noexcept {
    return got == input::got::signal ? stop::signal : got == input::got::late ? stop::late : stop::end;
}

void tell_dropped(const input& from, std::string_view what) {
    if (!from.pending().empty())
        note("{}: {} bytes of {} incomplete {} were read and are not appended", from.name(), from.pending().size(),
             what == "line" ? "a still" : "a", what);
}

}  // namespace

std::optional<std::span<const std::byte>> line_source::next(std::uint64_t bytes_max) {
    from_.consume(std::exchange(consumed_, 0));
    for (;;) {
        const auto pending = from_.pending();
        const auto* const unsearched = pending.data() + searched_;
        const void* const newline =
            searched_ == pending.size() ? nullptr : std::memchr(unsearched, '\n', pending.size() - searched_);
        if (newline != nullptr) {
            const auto bytes = static_cast<std::size_t>(static_cast<const std::byte*>(newline) - pending.data());
            consumed_ = bytes + 1;
            searched_ = 0;
            whole_ = true;
            ++number_;
            return pending.first(bytes);
        }
        searched_ = pending.size();
        if (searched_ > bytes_max) {
            consumed_ = std::exchange(searched_, 0);
            ++number_;
            return pending;
        }
        const auto got = from_.fill();
        if (got == input::got::bytes)
            continue;
        why_ = stop_for(got);
        if (got != input::got::end || searched_ == 0)
            return std::nullopt;
        consumed_ = std::exchange(searched_, 0);
        whole_ = false;
        ++number_;
        return from_.pending();
    }
}

stop append_lines(appender& to, const write_options& options, line_source& lines, const input& from) {
    auto& region = to.region_named(options.region);
    while (const auto line = lines.next(region.size_bytes)) {
        to.check_size(region, line->size(), "line", lines.number());
        // Nothing is lost by stopping at once where the input can be read again.
        if (from.keeps_its_bytes() && signals::seen() != 0)
            return stop::signal;
        if (options.source == source_kind::resumed_lines && from.keeps_its_bytes() && !lines.whole()) {
            note("{}: line {} has no newline yet and is not appended; it is when it has one and this is run again",
                 from.name(), lines.number());
            continue;
        }
        to.append(region, *line, "line", lines.number());
    }
    if (lines.why() == stop::signal)
        tell_dropped(from, "line");
    return lines.why();
}

stop append_frames(appender& to, const write_options& options, input& from) {
    std::uint64_t number = 0;
    const auto bad = [&](std::string_view what) {
        fail(exit_code::bad_input, "{}: offset {}: {}; {} were appended before it", from.name(), from.offset(), what,
             to.appended());
    };
    // True once so many bytes are pending; false at the end, if it is one, or for a signal.
    stop why = stop::end;
    const auto fill_to = [&](std::uint64_t bytes, std::string_view what) {
        while (from.pending().size() < bytes) {
            const auto got = from.fill();
            if (got == input::got::bytes)
                continue;
            why = stop_for(got);
            if (why == stop::end && !from.pending().empty())
                bad(fmt::format("the input ends after {} of {} bytes of a frame{}", from.pending().size(), bytes,
                                what));
            return false;
        }
        return true;
    };
    while (fill_to(frame_header_bytes, "'s header")) {
        if (from.keeps_its_bytes() && signals::seen() != 0)
            return stop::signal;
        frame_header header;
        if (const auto wrong = read_frame_header(from.pending().first<frame_header_bytes>(), header); !wrong.empty())
            bad(wrong);
        const std::uint64_t head_bytes = frame_header_bytes + header.name_bytes;
        if (!fill_to(head_bytes, ""))
            break;
        const std::string name(as_text(from.pending().subspan(frame_header_bytes, header.name_bytes)));
        if (const auto wrong = check_frame_name(name); !wrong.empty())
            bad(wrong);
        const auto region = [&](std::optional<std::uint64_t> size_hint = {}) -> appender::target& {
            if (!to.is_open())
                to.open();
            if (is_unnamed(header.kind))
                return to.region_labelled(name, size_hint);
            return to.region_named(name.empty() ? std::string_view(options.region) : name, size_hint);
        };
        // Refused before its bytes are gathered in memory.
        if (is_entry(header.kind))
            to.check_size(region(), header.body_bytes, "frame", number + 1);
        if (!fill_to(head_bytes + header.body_bytes, ""))
            break;
        ++number;
        const auto body = from.pending().subspan(head_bytes, header.body_bytes);
        if (header.kind == frame_kind::stream)
            to.suggest_stream(read_u64(body.first(8)), read_u64(body.subspan(8)));
        else if (is_entry(header.kind))
            to.append(region(), body, "frame", number);
        else
            (void)region(read_u64(body));
        from.consume(head_bytes + header.body_bytes);
    }
    if (why == stop::signal)
        tell_dropped(from, "frame");
    else if (!to.is_open())
        to.open();  // an empty stream is what was asked for
    return why;
}

stop append_files(appender& to, const write_options& options) {
    auto& region = to.region_named(options.region);
    std::uint64_t number = 0;
    for (const auto& file : options.files) {
        input from(file);
        ++number;
        for (;;) {
            to.check_size(region, from.pending().size(), "file", number);
            const auto got = from.fill();
            if (got == input::got::signal)
                return stop::signal;
            if (got == input::got::end)
                break;
        }
        to.append(region, from.pending(), from.name(), number);
    }
    return stop::end;
}

stop append_rest_of_file(appender& to, const write_options& options) {
    input from(options.resumed_file);
    line_source lines(from);
    auto& region = to.region_named(options.region);
    if (region.was_there) {
        const auto reader = need(reader::open(options.stream, {.name = {}, .without_control = true}));
        cursor_options how;
        how.check_crc = true;
        how.registered = false;
        auto held = need(reader.follow(region.where, how));
        for (const entry& e : held) {
            const auto line = lines.next(region.size_bytes);
            if (!line && lines.why() == stop::signal)
                return stop::signal;
            if (!line)
                fail(exit_code::bad_input, "{}: it has {} lines, and region \"{}\" holds more entries: not its file",
                     from.name(), lines.number(), printable(region.name));
            if (!std::ranges::equal(*line, e.payload()))
                fail(exit_code::bad_input,
                     "{}: line {} is not what the entry at offset {} of region \"{}\" holds: not its file", from.name(),
                     lines.number(), to_uint(e.offset()), printable(region.name));
        }
        need(result<void>(held.status()));
    }
    return append_lines(to, options, lines, from);
}

}  // namespace pmemstream::tools
