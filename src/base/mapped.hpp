#pragma once

#include <cstdint>

// Access to words of a mapping that another process may write at the same time. Plain members in the on-media structs
// keep the layout readable; every access to a shared one goes through here. The built-ins, unlike std::atomic_ref in
// C++20, also take words of a read-only mapping.
namespace pmemstream::base {

template <class T>
[[nodiscard]] inline T load_relaxed(const T& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_RELAXED);
}

template <class T>
[[nodiscard]] inline T load_acquire(const T& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

template <class T>
inline void store_relaxed(T& word, T value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELAXED);
}

template <class T>
inline void store_release(T& word, T value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

/// Copies 8-byte words that a writer may be changing; the caller finds out afterwards whether it did.
inline void copy_words(std::uint64_t* to, const std::uint64_t* from, unsigned words) noexcept {
    for (unsigned i = 0; i < words; ++i)
        to[i] = load_relaxed(from[i]);
}

}  // namespace pmemstream::base
