#pragma once

#include <pmemstream/pmemstream.hpp>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <stdexcept>

// Streams to measure with, and the same file mapped by hand for the limits.
namespace bench {

/// The value, or an exception with the error's sentence: a benchmark has nobody else to tell.
template <class T>
T must(pmemstream::result<T>&& got) {
    if (!got)
        throw std::runtime_error(got.error().message());
    if constexpr (!std::is_void_v<T>)
        return std::move(*got);
}

/// A stream that is removed, with its control file, at the end.
class scratch_stream {
public:
    scratch_stream(std::filesystem::path file, std::uint64_t stream_bytes);
    ~scratch_stream();
    scratch_stream(const scratch_stream&) = delete;
    scratch_stream& operator=(const scratch_stream&) = delete;
    [[nodiscard]] const std::filesystem::path& file() const noexcept { return file_; }

private:
    std::filesystem::path file_;
};

/// A whole file, mapped shared by plain mmap.
class raw_mapping {
public:
    raw_mapping(const std::filesystem::path& file, bool writable);
    ~raw_mapping();
    raw_mapping(const raw_mapping&) = delete;
    raw_mapping& operator=(const raw_mapping&) = delete;
    [[nodiscard]] std::byte* at(pmemstream::offset where) const noexcept { return data_ + to_uint(where); }

private:
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

/// What the limits write before every payload: as large as an entry's header, with nothing to compute.
struct raw_header {
    std::uint32_t payload_bytes;
    std::uint32_t unused;
    std::uint64_t number;
};
static_assert(sizeof(raw_header) == 16);

[[nodiscard]] constexpr std::uint64_t entry_bytes(std::uint64_t payload_bytes) noexcept {
    return sizeof(raw_header) + ((payload_bytes + 7) & ~std::uint64_t{7});
}

}  // namespace bench
