#pragma once

#include "tests/crash/enumerator/mapped_file.hpp"
#include "tests/crash/enumerator/trace.hpp"

#include <cstdint>

namespace pmemstream::test {

/// Writes down what writers do to a file, and what of it goes where power loss does not reach.
class recorder {
public:
    virtual ~recorder() = default;
    /// From now on, until end(): appends to `to`. `file`: the one that will be mapped; `content`: what it holds, all of
    /// which counts as durable.
    virtual void begin(trace& to, const mapped_file& file, image content) = 0;
    /// The mapping may live on; nobody looks at it any more. Throws if something escaped.
    virtual void end() = 0;
    virtual void mark(std::uint64_t state) = 0;
};

}  // namespace pmemstream::test
