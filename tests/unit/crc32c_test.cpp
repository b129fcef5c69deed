#include "src/base/crc32c.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace pmemstream;
using base::detail::crc32c_implementation;

constexpr std::uint32_t fresh = ~std::uint32_t{0};
constexpr std::string_view check_digits = "123456789";
constexpr std::uint32_t check_value = 0xe3069283;

// Initialised before main, perhaps before anything in the library.
const std::uint32_t at_static_initialisation = base::crc32c(check_digits.data(), check_digits.size());

// The definition, bit by bit: shares neither tables nor constants with what is tested.
std::uint32_t by_definition(std::uint32_t state, const std::byte* data, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
        state ^= std::to_integer<std::uint32_t>(data[i]);
        for (int bit = 0; bit < 8; ++bit) {
            state = (state >> 1) ^ ((state & 1) != 0 ? 0x82f63b78U : 0U);
        }
    }
    return state;
}

std::vector<std::byte> random_bytes(std::size_t count, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> result(count);
    std::generate(result.begin(), result.end(), [&] { return static_cast<std::byte>(random()); });
    return result;
}

// What callers see: one of the implementations by length, and the short path in the header.
std::uint32_t dispatched_extend(std::uint32_t state, std::byte*, const std::byte* from, std::size_t bytes) noexcept {
    return base::crc32c_extend(state, from, bytes);
}
std::uint32_t dispatched_copy(std::uint32_t state, std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    return base::crc32c_copy(state, to, from, bytes);
}

std::uint32_t portable_extend(std::uint32_t state, std::byte*, const std::byte* from, std::size_t bytes) noexcept {
    return base::portable::crc32c_extend(state, from, bytes);
}
std::uint32_t portable_copy(std::uint32_t state, std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    return base::portable::crc32c_copy(state, to, from, bytes);
}

std::vector<crc32c_implementation> every_implementation() {
    const auto supported = base::detail::crc32c_implementations();
    std::vector<crc32c_implementation> result(supported.begin(), supported.end());
    result.push_back({"portable API", portable_extend, portable_copy, 0, 0});
    result.push_back({"dispatched", dispatched_extend, dispatched_copy, 0, 0});
    return result;
}

// Two readable pages between two that are not: one byte read or written outside the middle kills the test.
class fenced_pages {
public:
    fenced_pages() {
        auto* mapped = ::mmap(nullptr, 4 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(mapped != MAP_FAILED);
        base_ = static_cast<std::byte*>(mapped);
        REQUIRE(::mprotect(base_, page_, PROT_NONE) == 0);
        REQUIRE(::mprotect(base_ + 3 * page_, page_, PROT_NONE) == 0);
    }
    fenced_pages(const fenced_pages&) = delete;
    fenced_pages& operator=(const fenced_pages&) = delete;
    ~fenced_pages() { ::munmap(base_, 4 * page_); }

    [[nodiscard]] std::byte* begin() const { return base_ + page_; }
    [[nodiscard]] std::byte* end() const { return base_ + 3 * page_; }

private:
    std::size_t page_ = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    std::byte* base_ = nullptr;
};

TEST_CASE("the chain gives the CRC of every short length, with the three values behind it, at any alignment") {
    if (!base::crc32c_has_instruction())
        return;
    std::mt19937 random(8);
    const fenced_pages fenced;
    std::vector<std::byte> bytes(400);
    for (auto& each : bytes)
        each = static_cast<std::byte>(random());
    for (std::size_t length = 0; length <= 300; ++length)
        for (const std::size_t at : {0, 1, 7, 16}) {
            auto message = std::vector<std::byte>(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                                  bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
            const std::uint64_t values[] = {length, ~std::uint64_t{0} - at, 0x0123456789abcdef};
            const auto* const more = reinterpret_cast<const std::byte*>(values);
            message.insert(message.end(), more, more + sizeof values);
            const auto expected = by_definition(fresh, message.data(), message.size());
            // At the end of what may be read, where it is not seen by sanitizers.
            std::byte* const last = fenced.end() - length;
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, last);
            for (const std::byte* const from :
                 {static_cast<const std::byte*>(bytes.data()) + at, static_cast<const std::byte*>(last)})
                CHECK(pmemstream::detail::crc32_chain(fresh, from, length, values[0], values[1], values[2]) ==
                      expected);
            const auto state = base::crc32c_extend(fresh, bytes.data() + at, length);
            CHECK(base::crc32c_extend_u64s(state, values[0], values[1], values[2]) == expected);
        }
}

#if defined(__x86_64__)
TEST_CASE("a register moves on by whole words as if so many zeros followed") {
    if (!base::crc32c_has_multiplication())
        return;
    const std::vector<std::byte> zeros(136);
    std::mt19937 random(9);
    for (std::size_t length = 8; length <= zeros.size(); length += 8)
        for (int i = 0; i < 100; ++i) {
            const auto state = static_cast<std::uint32_t>(random());
            CHECK(detail::crc32_moved_on(state, length) == by_definition(state, zeros.data(), length));
        }
}
#endif

}  // namespace

TEST_CASE("the published vectors hold for every implementation") {
    std::vector<std::byte> ascending(32);
    std::vector<std::byte> descending(32);
    for (std::size_t i = 0; i < 32; ++i) {
        ascending[i] = static_cast<std::byte>(i);
        descending[i] = static_cast<std::byte>(31 - i);
    }
    std::vector<std::byte> digits(check_digits.size());
    std::memcpy(digits.data(), check_digits.data(), digits.size());
    // RFC 3720, B.4: the PDU of an iSCSI SCSI Read (10).
    std::vector<std::byte> command(48);
    const std::pair<std::size_t, int> command_bytes[] = {{0, 0x01},  {1, 0xc0},  {16, 0x14}, {22, 0x04},
                                                         {27, 0x14}, {31, 0x18}, {32, 0x28}, {40, 0x02}};
    for (const auto& [at, value] : command_bytes) {
        command[at] = static_cast<std::byte>(value);
    }
    struct vector {
        std::vector<std::byte> message;
        std::uint32_t expected;
    };
    const vector vectors[] = {
        {digits, check_value},
        {std::vector(32, std::byte{0}), 0x8a9136aa},
        {std::vector(32, std::byte{0xff}), 0x62a8ab43},
        {ascending, 0x46dd794e},
        {descending, 0x113fdb5c},
        {command, 0xd9963a56},
    };
    for (const auto& each : every_implementation()) {
        CAPTURE(each.name);
        for (const auto& vector : vectors) {
            const auto& message = vector.message;
            const auto expected = vector.expected;
            CAPTURE(message.size());
            if (message.size() >= each.bytes_min) {
                CHECK(~each.extend(fresh, nullptr, message.data(), message.size()) == expected);
            }
            // Leading zeros leave the register zero, and a register of all ones is the same as four inverted bytes: so
            // the vectors also go through implementations that cannot do anything as short.
            std::vector<std::byte> long_enough(256 + message.size());
            std::copy(message.begin(), message.end(), long_enough.begin() + 256);
            for (std::size_t i = 256; i < 260; ++i) {
                long_enough[i] ^= std::byte{0xff};
            }
            CHECK(~each.extend(0, nullptr, long_enough.data(), long_enough.size()) == expected);
        }
    }
    CHECK(base::crc32c(digits.data(), digits.size()) == check_value);
    CHECK(base::crc32c(nullptr, 0) == 0);
    CHECK(base::crc32c_copy(7, nullptr, nullptr, 0) == 7);
}

TEST_CASE("the portable version agrees with the definition at every length and alignment") {
    const auto data = random_bytes(400, 1);
    for (std::size_t offset = 0; offset < 16; ++offset) {
        for (std::size_t bytes = 0; bytes <= 300; ++bytes) {
            const auto seed = static_cast<std::uint32_t>(bytes * 0x9e3779b9U + offset);
            REQUIRE(base::portable::crc32c_extend(seed, data.data() + offset, bytes) ==
                    by_definition(seed, data.data() + offset, bytes));
        }
    }
}

TEST_CASE("every implementation agrees with the portable one at every short length and at large ones") {
    const auto data = random_bytes(300'000, 2);
    std::vector<std::size_t> lengths;
    for (std::size_t bytes = 0; bytes <= 1100; ++bytes) {
        lengths.push_back(bytes);
    }
    for (const std::size_t around : {2048, 3072, 4096, 8192, 16384, 65536, 262144}) {
        for (const int distance : {-129, -65, -64, -17, -8, -1, 0, 1, 7, 15, 63, 64, 65, 127, 191}) {
            lengths.push_back(around + static_cast<std::size_t>(distance));
        }
    }
    const std::size_t offsets[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 31, 33, 48, 63};
    const auto implementations = every_implementation();
    for (const auto bytes : lengths) {
        for (const auto offset : offsets) {
            if (bytes > 4000 && offset > 9) {
                continue;
            }
            const auto seed = static_cast<std::uint32_t>(bytes * 0x85ebca6bU + offset);
            const auto* from = data.data() + offset;
            const auto expected = base::portable::crc32c_extend(seed, from, bytes);
            for (const auto& each : implementations) {
                if (bytes >= each.bytes_min && each.extend(seed, nullptr, from, bytes) != expected) {
                    FAIL("extend differs: ", each.name, ", bytes ", bytes, ", offset ", offset);
                }
            }
        }
    }
}

TEST_CASE("every state goes in unharmed at every length") {
    const auto data = random_bytes(512, 3);
    const std::uint32_t seeds[] = {0, 1, fresh, 0x80000000, 0x000000ff, 0xff000000, 0x12345678};
    for (const auto& each : every_implementation()) {
        CAPTURE(each.name);
        for (const auto seed : seeds) {
            for (auto bytes = each.bytes_min; bytes <= data.size(); ++bytes) {
                REQUIRE(each.extend(seed, nullptr, data.data(), bytes) ==
                        base::portable::crc32c_extend(seed, data.data(), bytes));
            }
        }
    }
}

TEST_CASE("extending piece by piece gives the CRC of the whole, wherever it is split") {
    const auto data = random_bytes(1100, 4);
    const auto whole = base::portable::crc32c_extend(fresh, data.data(), data.size());
    for (const auto& each : every_implementation()) {
        CAPTURE(each.name);
        for (std::size_t split = each.bytes_min; split + each.bytes_min <= data.size(); ++split) {
            const auto first = each.extend(fresh, nullptr, data.data(), split);
            REQUIRE(each.extend(first, nullptr, data.data() + split, data.size() - split) == whole);
        }
    }
    for (std::size_t one = 0; one <= 150; ++one) {
        for (std::size_t two = one; two <= 150; ++two) {
            auto state = base::crc32c_extend(fresh, data.data(), one);
            state = base::crc32c_extend(state, data.data() + one, two - one);
            state = base::crc32c_extend(state, data.data() + two, data.size() - two);
            REQUIRE(state == whole);
        }
    }
}

TEST_CASE("a copy is exact, returns the CRC and touches nothing beside its range") {
    constexpr std::size_t guard = 128;
    const auto data = random_bytes(70'000, 5);
    auto to = std::vector<std::byte>(data.size() + 2 * guard + 64);
    std::vector<std::size_t> lengths;
    for (std::size_t bytes = 0; bytes <= 1100; ++bytes) {
        lengths.push_back(bytes);
    }
    lengths.insert(lengths.end(), {4096, 4097, 8191, 65536, 65599});
    for (const auto& each : every_implementation()) {
        for (const auto bytes : lengths) {
            // Entries put the payload 8 bytes past a multiple of 16 or on one; the source is where the caller has it.
            for (const std::size_t shift : {0, 8, 16, 40, 3}) {
                const auto* from = data.data() + (bytes + shift) % 61;
                auto* out = to.data() + guard + shift;
                if (bytes < each.bytes_min) {
                    continue;
                }
                std::fill(out - guard, out + bytes + guard, std::byte{0xa5});
                const auto seed = static_cast<std::uint32_t>(bytes * 0xc2b2ae35U + shift);
                const auto crc = each.copy(seed, out, from, bytes);
                const auto is_guard = [](std::byte value) { return value == std::byte{0xa5}; };
                if (crc != base::portable::crc32c_extend(seed, from, bytes) || std::memcmp(out, from, bytes) != 0 ||
                    !std::all_of(out - guard, out, is_guard) ||
                    !std::all_of(out + bytes, out + bytes + guard, is_guard)) {
                    FAIL("copy differs: ", each.name, ", bytes ", bytes, ", shift ", shift);
                }
            }
        }
    }
}

TEST_CASE("neither end of either range is overrun, at the edge of a mapping") {
    const fenced_pages source;
    const fenced_pages target;
    const auto data = random_bytes(8192, 6);
    std::copy_n(data.begin(), source.end() - source.begin(), source.begin());
    for (const auto& each : every_implementation()) {
        CAPTURE(each.name);
        for (auto bytes = each.bytes_min; bytes <= 600; ++bytes) {
            const auto at_begin = base::portable::crc32c_extend(fresh, source.begin(), bytes);
            const auto at_end = base::portable::crc32c_extend(fresh, source.end() - bytes, bytes);
            REQUIRE(each.extend(fresh, nullptr, source.begin(), bytes) == at_begin);
            REQUIRE(each.extend(fresh, nullptr, source.end() - bytes, bytes) == at_end);
            REQUIRE(each.copy(fresh, target.begin(), source.begin(), bytes) == at_begin);
            REQUIRE(each.copy(fresh, target.end() - bytes, source.end() - bytes, bytes) == at_end);
        }
    }
}

TEST_CASE("a word extends as its eight bytes in little-endian order") {
    std::mt19937_64 random(7);
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t value = i < 64 ? std::uint64_t{1} << i : random();
        const auto seed = static_cast<std::uint32_t>(random());
        std::byte bytes[8];
        for (int k = 0; k < 8; ++k) {
            bytes[k] = static_cast<std::byte>(value >> (8 * k));
        }
        const auto expected = by_definition(seed, bytes, 8);
        REQUIRE(base::crc32c_extend_u64(seed, value) == expected);
        REQUIRE(base::detail::crc32c_extend_u64_any(seed, value) == expected);
        REQUIRE(base::portable::crc32c_extend_u64(seed, value) == expected);
    }
}

TEST_CASE("every flipped bit changes the CRC") {
    auto data = random_bytes(300, 8);
    for (const std::size_t bytes : {5, 64, 65, 130, 300}) {
        const auto intact = base::crc32c(data.data(), bytes);
        for (std::size_t bit = 0; bit < 8 * bytes; ++bit) {
            data[bit / 8] ^= std::byte{1} << (bit % 8);
            REQUIRE(base::crc32c(data.data(), bytes) != intact);
            data[bit / 8] ^= std::byte{1} << (bit % 8);
        }
    }
}

TEST_CASE("the CRC is right during static initialisation") {
    CHECK(at_static_initialisation == check_value);
}

TEST_CASE("several threads may make the call that detects the processor") {
    const auto data = random_bytes(1000, 9);
    const auto expected = base::portable::crc32c_extend(fresh, data.data(), data.size());
    base::detail::crc32c_use(base::detail::crc32c_engine::undetected);
    std::array<std::uint32_t, 8> results{};
    std::vector<std::thread> threads;
    for (auto& result : results) {
        threads.emplace_back([&] {
            const auto state = base::crc32c_extend(fresh, data.data(), 20);
            result = base::crc32c_extend(state, data.data() + 20, data.size() - 20);
        });
    }
    for (auto& each : threads) {
        each.join();
    }
    for (const auto result : results) {
        CHECK(result == expected);
    }
}

TEST_CASE("what an engine computes does not depend on where the dispatch changes over") {
    using base::detail::crc32c_engine;
    const auto data = random_bytes(700, 10);
    std::vector<std::byte> to(data.size());
    const auto best = static_cast<int>(base::detail::crc32c_implementations().size());
    for (int engine = static_cast<int>(crc32c_engine::portable); engine <= best; ++engine) {
        CAPTURE(engine);
        base::detail::crc32c_use(static_cast<crc32c_engine>(engine));
        for (std::size_t bytes = 0; bytes <= data.size(); ++bytes) {
            const auto expected = base::portable::crc32c_extend(fresh, data.data(), bytes);
            REQUIRE(base::crc32c_extend(fresh, data.data(), bytes) == expected);
            REQUIRE(base::crc32c_copy(fresh, to.data(), data.data(), bytes) == expected);
            REQUIRE(std::equal(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(bytes), data.begin()));
        }
        REQUIRE(base::crc32c_extend_u64(0, 1) == base::portable::crc32c_extend_u64(0, 1));
    }
    base::detail::crc32c_use(crc32c_engine::undetected);
}
