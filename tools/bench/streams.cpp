#include "tools/bench/streams.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>

namespace bench {

namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const char* doing, int code = errno) {
    throw std::system_error(code, std::generic_category(), file.string() + ": " + doing);
}

void remove_quietly(const std::filesystem::path& file) {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
}

class descriptor {
public:
    descriptor(const std::filesystem::path& file, int flags) : fd_(::open(file.c_str(), flags | O_CLOEXEC, 0600)) {
        if (fd_ < 0)
            fail(file, "opening");
    }
    ~descriptor() { ::close(fd_); }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

}  // namespace

scratch_stream::scratch_stream(std::filesystem::path file, std::uint64_t stream_bytes) : file_(std::move(file)) {
    must(pmemstream::create(file_, {.stream_bytes = stream_bytes}));
}

scratch_stream::~scratch_stream() {
    remove_quietly(file_);
    remove_quietly(file_.string() + ".ctl");
}

scratch_file::scratch_file(std::filesystem::path file, std::uint64_t bytes) : file_(std::move(file)) {
    const descriptor fd(file_, O_RDWR | O_CREAT | O_EXCL);
    if (const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); code != 0) {
        remove_quietly(file_);
        fail(file_, "allocating its space", code);
    }
}

scratch_file::~scratch_file() {
    remove_quietly(file_);
}

scratch_folder::scratch_folder(std::filesystem::path folder) : folder_(std::move(folder)) {
    if (!std::filesystem::create_directory(folder_))
        fail(folder_, "making a folder", EEXIST);
}

scratch_folder::~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

raw_mapping::raw_mapping(const std::filesystem::path& file, access how) {
    const bool writable = how == access::write;
    const descriptor fd(file, writable ? O_RDWR : O_RDONLY);
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0)
        fail(file, "looking at it");
    bytes_ = static_cast<std::uint64_t>(st.st_size);
    void* const got = ::mmap(nullptr, bytes_, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd.get(), 0);
    if (got == MAP_FAILED)
        fail(file, "mapping");
    data_ = static_cast<std::byte*>(got);
}

raw_mapping::~raw_mapping() {
    ::munmap(data_, bytes_);
}

void overwrite(const std::filesystem::path& file) {
    {
        const raw_mapping raw(file, access::write);
        for (std::uint64_t at = 0; at < raw.bytes(); at += 4096)
            __atomic_fetch_or(reinterpret_cast<std::uint64_t*>(raw.data() + at), std::uint64_t{0}, __ATOMIC_RELAXED);
    }
    drop_from_cache(file);
    // Pages that come back one by one, by a mapping that reads nothing ahead, stay one by one.
    const raw_mapping raw(file, access::read);
    if (::madvise(raw.data(), raw.bytes(), MADV_RANDOM) != 0)
        fail(file, "advising how it is read");
    for (std::uint64_t at = 0; at < raw.bytes(); at += 4096)
        (void)*static_cast<const volatile std::byte*>(raw.data() + at);
}

void drop_from_cache(const std::filesystem::path& file) {
    const descriptor fd(file, O_RDWR);
    if (::fdatasync(fd.get()) != 0)
        fail(file, "syncing");
    if (const int code = ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED); code != 0)
        fail(file, "dropping it from the page cache", code);
}

namespace {

/// As the kernel counts them, for all mappings of the file.
std::uint64_t present_bytes(const std::filesystem::path& file) {
    std::ifstream maps("/proc/self/smaps");
    std::uint64_t bytes = 0;
    bool ours = false;
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin = 0, end = 0, kib = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
            ours = line.ends_with(" " + file.string());
        else if (ours && std::sscanf(line.c_str(), "Rss: %lu kB", &kib) == 1)
            bytes += std::uint64_t{kib} << 10;
    }
    return bytes;
}

}  // namespace

void wait_until_present(const std::filesystem::path& file, std::uint64_t bytes) {
    const auto name = std::filesystem::canonical(file);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (present_bytes(name) < bytes) {
        if (std::chrono::steady_clock::now() > until)
            throw std::runtime_error(file.string() + ": its pages do not become present");
        ::usleep(1000);
    }
}

std::vector<std::byte> payload_of(std::uint64_t bytes) {
    std::vector<std::byte> made(bytes, std::byte{0x5a});
    __asm__ volatile("" : : "r"(made.data()) : "memory");
    return made;
}

}  // namespace bench
