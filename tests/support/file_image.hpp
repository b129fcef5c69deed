#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

namespace pmemstream::test {

using file_image = std::vector<std::byte>;

/// A file's bytes, as the page cache has them.
[[nodiscard]] inline file_image read_image(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    file_image bytes(std::filesystem::file_size(file));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!in)
        throw std::runtime_error("cannot read " + file.string());
    return bytes;
}

/// Makes (or replaces the content of) a file; its inode stays.
inline void write_image(const std::filesystem::path& file, const file_image& bytes) {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush())
        throw std::runtime_error("cannot write " + file.string());
}

template <class T>
[[nodiscard]] T image_at(const file_image& bytes, std::uint64_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

/// Reads a struct from the file.
template <class T>
[[nodiscard]] T peek(const std::filesystem::path& file, std::uint64_t offset) {
    std::ifstream in(file, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(offset));
    T value;
    in.read(reinterpret_cast<char*>(&value), sizeof value);
    if (!in)
        throw std::runtime_error("cannot read " + file.string());
    return value;
}

/// Overwrites a struct in the file.
template <class T>
void poke(const std::filesystem::path& file, std::uint64_t offset, const T& value) {
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(offset));
    out.write(reinterpret_cast<const char*>(&value), sizeof value);
    if (!out.flush())
        throw std::runtime_error("cannot write " + file.string());
}

/// Flips bits of one byte.
inline void flip(const std::filesystem::path& file, std::uint64_t offset, std::byte bits = std::byte{0xff}) {
    poke(file, offset, peek<std::byte>(file, offset) ^ bits);
}

}  // namespace pmemstream::test
