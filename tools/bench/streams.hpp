#pragma once

#include <pmemstream/pmemstream.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

// Files to measure with: streams, and plain ones for the limits.
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

/// A plain file whose space is allocated, as a stream's is; removed at the end.
class scratch_file {
public:
    scratch_file(std::filesystem::path file, std::uint64_t bytes);
    ~scratch_file();
    scratch_file(const scratch_file&) = delete;
    scratch_file& operator=(const scratch_file&) = delete;
    [[nodiscard]] const std::filesystem::path& file() const noexcept { return file_; }

private:
    std::filesystem::path file_;
};

/// A folder that is removed with everything in it.
class scratch_folder {
public:
    explicit scratch_folder(std::filesystem::path folder);
    ~scratch_folder();
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }

private:
    std::filesystem::path folder_;
};

enum class access : std::uint8_t { read, write };

/// A whole file, mapped shared by plain mmap.
class raw_mapping {
public:
    raw_mapping(const std::filesystem::path& file, access how);
    ~raw_mapping();
    raw_mapping(const raw_mapping&) = delete;
    raw_mapping& operator=(const raw_mapping&) = delete;
    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::byte* at(pmemstream::offset where) const noexcept { return data_ + to_uint(where); }

private:
    std::byte* data_ = nullptr;
    std::uint64_t bytes_ = 0;
};

/// Writes every block of the file, for that is what happens once to each and costs more than later times; then forgets
/// what the page cache holds of it, which otherwise is in pieces of up to 2 MiB (large folios), and a store to any byte
/// makes all of its piece be written by the next sync.
void overwrite(const std::filesystem::path& file);
/// Writes back and drops what the page cache holds of the file; no process may map it. The next reader finds it on disk
/// (or, where there is no disk behind the file, in memory).
void drop_from_cache(const std::filesystem::path& file);

/// Waits until `bytes` of the file are present in this process's memory, which another thread sees to.
void wait_until_present(const std::filesystem::path& file, std::uint64_t bytes);

/// A payload whose size the compiler does not know.
[[nodiscard]] std::vector<std::byte> payload_of(std::uint64_t bytes);

/// The same at a cache line: where the heap happens to put it must not decide what copying it costs.
class aligned_payload {
public:
    explicit aligned_payload(std::uint64_t bytes)
        : made_(payload_of(bytes + 64)),
          bytes_(made_.data() + (-reinterpret_cast<std::uintptr_t>(made_.data()) & 63), bytes) {}
    aligned_payload(const aligned_payload&) = delete;
    aligned_payload& operator=(const aligned_payload&) = delete;
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    std::vector<std::byte> made_;
    std::span<const std::byte> bytes_;
};

}  // namespace bench
