#include "tools/bench/streams.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <system_error>

namespace bench {

scratch_stream::scratch_stream(std::filesystem::path file, std::uint64_t stream_bytes) : file_(std::move(file)) {
    must(pmemstream::create(file_, {.stream_bytes = stream_bytes}));
}

scratch_stream::~scratch_stream() {
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
    std::filesystem::remove(file_.string() + ".ctl", ignored);
}

raw_mapping::raw_mapping(const std::filesystem::path& file, bool writable) {
    const int fd = ::open(file.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    struct stat st {};
    void* got = MAP_FAILED;
    if (fd >= 0 && ::fstat(fd, &st) == 0) {
        bytes_ = static_cast<std::size_t>(st.st_size);
        got = ::mmap(nullptr, bytes_, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    }
    const int why = errno;
    if (fd >= 0)
        ::close(fd);
    if (got == MAP_FAILED)
        throw std::system_error(why, std::generic_category(), file.string());
    data_ = static_cast<std::byte*>(got);
}

raw_mapping::~raw_mapping() {
    ::munmap(data_, bytes_);
}

}  // namespace bench
