#include "tests/crash/enumerator/mapped_file.hpp"

#include "src/base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <system_error>
#include <utility>

namespace pmemstream::test {

mapped_file::mapped_file(std::filesystem::path file, std::uint64_t bytes) : path_(std::move(file)), bytes_(bytes) {
    const base::unique_fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd || ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)) != 0)
        throw std::system_error(errno, std::generic_category(), path_.string());
    void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED)
        throw std::system_error(errno, std::generic_category(), path_.string());
    data_ = static_cast<std::byte*>(at);
}

mapped_file::~mapped_file() {
    ::munmap(data_, bytes_);
}

void mapped_file::write(const image& content) {
    std::memcpy(data_, content.data(), bytes_);
}

}  // namespace pmemstream::test
