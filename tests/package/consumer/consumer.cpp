// consumer STREAM VERSION: creates the stream, appends, reads back, and says so.
#include <cstdio>
#include <cstring>
#include <pmemstream/pmemstream.hpp>
#include <string_view>

namespace {

int fail(const char* what, const pmemstream::error& why) {
    std::fprintf(stderr, "%s: %s\n", what, why.message().c_str());
    return 1;
}

/// Shows every text once.
template <class Cursor, std::size_t Count>
bool shows(Cursor& cursor, const std::string_view (&texts)[Count]) {
    std::size_t count = 0;
    for (const pmemstream::entry& entry : cursor) {
        const auto payload = entry.payload();
        if (count == Count || payload.size() != texts[count].size() ||
            std::memcmp(payload.data(), texts[count].data(), payload.size()) != 0)
            return false;
        ++count;
    }
    if (!cursor.status())
        fail("next", cursor.status().error());
    return count == Count;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3)
        return 2;
    if (std::strcmp(argv[2], PMEMSTREAM_VERSION) != 0) {
        std::fprintf(stderr, "headers of version %s\n", PMEMSTREAM_VERSION);
        return 1;
    }
    pmemstream::create_options options;
    options.stream_bytes = 1 << 20;
    if (auto done = pmemstream::create(argv[1], options); !done)
        return fail("create", done.error());
    auto writer = pmemstream::writer::open(argv[1]);
    if (!writer)
        return fail("writer", writer.error());
    auto region = (*writer)->allocate(64 << 10, "lines");
    if (!region)
        return fail("allocate", region.error());
    const std::string_view texts[] = {"one", "", "three"};
    for (const std::string_view text : texts)
        if (auto done = (*writer)->append(*region, std::as_bytes(std::span(text))); !done)
            return fail("append", done.error());

    auto reader = pmemstream::reader::open(argv[1]);
    if (!reader)
        return fail("reader", reader.error());
    auto cursor = reader->follow(*region);
    if (!cursor)
        return fail("follow", cursor.error());
    auto merged = reader->follow_all();
    if (!merged)
        return fail("follow_all", merged.error());
    if (!shows(*cursor, texts) || !shows(*merged, texts))
        return 1;
    std::printf("read back %zu entries\n", std::size(texts));
    return 0;
}
