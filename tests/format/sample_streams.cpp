#include "tests/format/sample_streams.hpp"

#include "tests/support/child.hpp"

#include <pmemstream/reader.hpp>
#include <pmemstream/writer.hpp>

#include <fmt/format.h>
#include <sys/wait.h>
#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <span>
#include <stdexcept>

namespace pmemstream::test {

namespace {

template <class T>
T must(result<T> got) {
    if (!got)
        throw std::runtime_error(got.error().message());
    if constexpr (!std::is_void_v<T>)
        return std::move(*got);
}

std::string text_of(std::size_t bytes, unsigned salt) {
    std::string text(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i)
        text[i] = static_cast<char>((i * 7 + salt * 31 + i / 251) & 0xff);
    return text;
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

sequence append(writer& to, region where, std::string_view text) {
    return must(to.append(where, bytes_of(text)));
}

void append_batch(writer& to, region where, const std::vector<std::string>& texts) {
    std::vector<std::span<const std::byte>> payloads;
    for (const auto& text : texts)
        payloads.push_back(bytes_of(text));
    must(to.append_batch(where, payloads));
}

void abandon_half_written(writer& to, region where, std::uint64_t bytes) {
    auto place = must(to.reserve(where, bytes));
    std::fill_n(place.payload().begin(), place.payload().size() / 2, std::byte{0xee});
    must(to.abandon(std::move(place)));
}

void publish(writer& to, region where, std::string_view text) {
    auto place = must(to.reserve(where, text.size()));
    std::memcpy(place.payload().data(), text.data(), text.size());
    must(to.publish(std::move(place)));
}

std::unique_ptr<writer> open_writer(const std::filesystem::path& file) {
    return must(writer::open(file, {.control_mode = {}, .without_control = true}));
}

void fill_alpha(writer& to, region alpha, region beta) {
    for (const std::size_t bytes : {0, 1, 7, 8, 9, 15, 16, 63, 64, 65, 300, 1000}) {
        append(to, alpha, text_of(bytes, 1));
        if (bytes % 8 == 7)
            append(to, beta, text_of(bytes / 8, 2));
    }
    abandon_half_written(to, alpha, 21);
    publish(to, alpha, "written in place");
    append_batch(to, alpha, {"one of three", "", "three of three"});
    // The entry behind an abandoned reservation waits for it; the filler comes first.
    auto first = must(to.reserve(alpha, 40));
    auto second = must(to.reserve(alpha, 5));
    std::memcpy(second.payload().data(), "after", 5);
    must(to.publish(std::move(second)));
    must(to.abandon(std::move(first)));
    append_batch(to, beta, {"a", "b"});
    append_batch(to, beta, {"a batch of one"});
}

}  // namespace

void make_tiny_stream(const std::filesystem::path& file) {
    must(create(file, {.stream_bytes = 8192, .block_bytes = 64, .file_mode = {}}));
    const auto to = open_writer(file);
    const region a = must(to->allocate(64, "a"));
    append(*to, a, "hello");
    append(*to, a, "");
    must(to->close());
}

void make_rich_stream(const std::filesystem::path& file, std::uint64_t block_bytes) {
    must(create(file,
                {.stream_bytes = block_bytes < 4096 ? 65536u : 262144u, .block_bytes = block_bytes, .file_mode = {}}));
    {
        const auto to = open_writer(file);
        const region alpha = must(to->allocate(4000, "alpha"));
        const region beta = must(to->allocate(200, "beta"));
        const region passing = must(to->allocate(500, "passing"));
        const region wiped = must(to->allocate(300, "wiped"));
        must(to->allocate(16));  // nameless, and it stays empty
        for (unsigned i = 0; i < 5; ++i) {
            append(*to, passing, text_of(30, i));
            append(*to, wiped, text_of(20 + i, i));
        }
        must(to->free(passing));
        const region reused = must(to->allocate(500, "reused"));
        append(*to, reused, text_of(30, 9));
        append(*to, reused, "shorter");
        append(*to, must(to->clear(wiped)), "since it was cleared");
        fill_alpha(*to, alpha, beta);
        for (unsigned i = 0; i < rich_regions_min; ++i) {
            const region small = must(to->allocate(16 + 13 * i, fmt::format("small {:02}", i)));
            for (unsigned k = 0; k < i % 4; ++k)
                append(*to, small, text_of(i % 3, k));
        }
        must(to->free(must(to->find("small 07"))));
        must(to->close());
    }
    const auto again = open_writer(file);  // entries of a second epoch
    append(*again, must(again->find("alpha")), "second epoch");
    append(*again, must(again->find("small 20")), "in the second table segment");
    must(again->close());
}

void append_and_die(const std::filesystem::path& file) {
    child appender([&] {
        const auto to = open_writer(file);
        const region alpha = must(to->find("alpha"));
        append(*to, alpha, "before the end");
        append_batch(*to, alpha, {"two", "by two"});
        append(*to, must(to->find("beta")), "b");
        append(*to, alpha, "the last one, soon to be torn");
        const auto place = must(to->reserve(alpha, 100));
        std::fill_n(place.payload().begin(), 50, std::byte{0x77});
        ::raise(SIGKILL);
        return 0;
    });
    if (const auto end = appender.wait(); !end.signalled || end.code != SIGKILL)
        throw std::runtime_error("the appender was to die by SIGKILL");
}

void copy_torn_and_recover(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::filesystem::copy_file(from, to);
    {
        auto opened = must(reader::open(to, {.name = {}, .without_control = true}));
        const auto end = must(opened.describe(must(opened.find("alpha")))).committed_end;
        std::fstream image(to, std::ios::in | std::ios::out | std::ios::binary);
        image.seekp(static_cast<std::streamoff>(to_uint(end) - 8));
        image.put('\x5a');
    }
    const auto recovering = open_writer(to);
    if (recovering->recovery().found != recovery_report::state::rescanned || recovering->recovery().regions_cut == 0)
        throw std::runtime_error("the torn copy was to be rescanned and cut");
    must(recovering->close());
}

}  // namespace pmemstream::test
