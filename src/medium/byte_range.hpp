#pragma once

#include <cstdint>

namespace pmemstream::medium {

struct byte_range {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
};

}  // namespace pmemstream::medium
