// The example of the README (a test compares the two). Run it in an empty directory: quickstart
#include <pmemstream/pmemstream.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

/// The README's reader follows for ever; this one has seen enough after the first entry.
void use(pmemstream::sequence when, std::span<const std::byte> payload) {
    std::printf("%llu: %.*s\n", static_cast<unsigned long long>(to_uint(when)), static_cast<int>(payload.size()),
                reinterpret_cast<const char*>(payload.data()));
    std::exit(0);
}

}  // namespace

using namespace pmemstream;

int main() {
    (void)create("log.stream", {.stream_bytes = 64 << 20});

    auto w = *writer::open("log.stream");  // takes the writer lock, recovers
    auto prices = w->find("prices");       // of an earlier run
    if (!prices)
        prices = w->allocate(16 << 20, "prices");
    auto t = w->append(*prices, std::as_bytes(std::span("EURUSD 1.0831", 13)));  // committed: every reader sees it
    (void)w->wait_persisted(*t);                                                 // survives power loss, too

    auto r = *reader::open("log.stream");  // any other process, read-only
    auto c = *r.follow(*r.find("prices"));
    while (auto e = c.wait())                    // spins a little, then sleeps on a futex
        use((*e)->sequence(), (*e)->payload());  // a view into the mapping
}
