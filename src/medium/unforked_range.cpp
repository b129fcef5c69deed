#include "src/medium/unforked_range.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace pmemstream::medium {

int unforked_range::cover(void* begin, std::size_t bytes, int* descriptor) noexcept {
    int code = 0;
    base::fork_hook::without_forks([&] {
        if (::madvise(begin, bytes, MADV_DONTFORK) != 0) {
            code = errno;
            return;
        }
        begin_ = begin;
        bytes_ = bytes;
        descriptor_ = descriptor;
        hook_.join(in_child, this);
    });
    return code;
}

void unforked_range::in_child(void* of) noexcept {
    const auto& self = *static_cast<const unforked_range*>(of);
    // Not over what another handler has mapped there; a kernel that does not know the flag takes another place.
    void* const got = ::mmap(self.begin_, self.bytes_, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != MAP_FAILED && got != self.begin_)
        ::munmap(got, self.bytes_);
    if (self.descriptor_ != nullptr)
        ::close(std::exchange(*self.descriptor_, -1));
}

}  // namespace pmemstream::medium
