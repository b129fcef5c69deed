#pragma once

#include "src/medium/mapping.hpp"

#include <cstdint>
#include <span>

// Where the tests stand between the library and its medium: they see every flush, drain and sync, and let some of them
// fail. The library that is installed is compiled without PMEMSTREAM_TEST_HOOKS: there the calls are empty and inline.
namespace pmemstream::medium {

#ifdef PMEMSTREAM_TEST_HOOKS
/// Thread safety: called by whatever thread makes something durable.
class observer {
public:
    virtual ~observer() = default;
    /// A mapping to write to was made, or is about to go.
    virtual void mapped(const mapping&) {}
    virtual void unmapped(const mapping&) {}
    virtual void flush(const mapping&, std::uint64_t /*offset*/, std::uint64_t /*bytes*/) {}
    virtual void drain(const mapping&) {}
    /// Before a copy past the caches, which is a flush as well. True: the observer makes it, before the next drain()
    /// returns at the latest, as a processor may.
    virtual bool copy(const mapping& m, std::uint64_t offset, const void* /*from*/, std::size_t bytes) {
        flush(m, offset, bytes);
        return false;
    }
    /// Before the system is asked. An errno value makes it fail without being asked; 0 lets it pass.
    virtual int sync(const mapping&, std::span<const mapping::range> /*ranges*/) { return 0; }
    /// Before the kernel is asked to make pages present. An errno value is its answer.
    virtual int populate(const mapping&) { return 0; }
    /// Before the file system is asked what it has written. An errno value is its answer.
    virtual int extents(const mapping&, std::uint64_t /*offset*/) { return 0; }
    /// What was synced is to pass for unwritten.
    virtual bool unwritten(const mapping&, std::uint64_t /*offset*/) { return false; }
};

/// The one that is told; null: nobody. Set while no stream is open.
inline observer* observing = nullptr;

inline void seam_mapped(const mapping& m) {
    if (observing != nullptr)
        observing->mapped(m);
}
inline void seam_unmapped(const mapping& m) {
    if (observing != nullptr)
        observing->unmapped(m);
}
inline void seam_flush(const mapping& m, std::uint64_t offset, std::uint64_t bytes) {
    if (observing != nullptr)
        observing->flush(m, offset, bytes);
}
inline void seam_drain(const mapping& m) {
    if (observing != nullptr)
        observing->drain(m);
}
inline bool seam_copy(const mapping& m, std::uint64_t offset, const void* from, std::size_t bytes) {
    return observing != nullptr && observing->copy(m, offset, from, bytes);
}
inline int seam_sync(const mapping& m, std::span<const mapping::range> ranges) {
    return observing != nullptr ? observing->sync(m, ranges) : 0;
}
inline int seam_populate(const mapping& m) {
    return observing != nullptr ? observing->populate(m) : 0;
}
inline int seam_extents(const mapping& m, std::uint64_t offset) {
    return observing != nullptr ? observing->extents(m, offset) : 0;
}
inline bool seam_unwritten(const mapping& m, std::uint64_t offset) {
    return observing != nullptr && observing->unwritten(m, offset);
}
#else
inline void seam_mapped(const mapping&) noexcept {}
inline void seam_unmapped(const mapping&) noexcept {}
inline void seam_flush(const mapping&, std::uint64_t, std::uint64_t) noexcept {}
inline void seam_drain(const mapping&) noexcept {}
inline bool seam_copy(const mapping&, std::uint64_t, const void*, std::size_t) noexcept {
    return false;
}
inline int seam_sync(const mapping&, std::span<const mapping::range>) noexcept {
    return 0;
}
inline int seam_populate(const mapping&) noexcept {
    return 0;
}
inline int seam_extents(const mapping&, std::uint64_t) noexcept {
    return 0;
}
inline bool seam_unwritten(const mapping&, std::uint64_t) noexcept {
    return false;
}
#endif

}  // namespace pmemstream::medium
