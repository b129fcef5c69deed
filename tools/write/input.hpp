#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pmemstream::tools {

/// A file descriptor that is read as its bytes come: read(2) never waits for more than there is.
class input {
public:
    /// `name`: for messages. Closes `fd` at the end if `owned`.
    input(int fd, std::string name, bool owned);
    /// Opens a file. Ends the tool if it cannot.
    explicit input(const std::string& file);
    ~input();
    input(const input&) = delete;
    input& operator=(const input&) = delete;

    enum class got : std::uint8_t { bytes, end, signal, late };

    /// Waits for further bytes behind the pending ones. `late`: the deadline passed.
    [[nodiscard]] got fill();
    void set_deadline(std::chrono::steady_clock::time_point when) { deadline_ = when; }

    /// What was read and not consumed. Valid until fill().
    [[nodiscard]] std::span<const std::byte> pending() const noexcept { return {data_.data() + begin_, end_ - begin_}; }
    void consume(std::size_t bytes) noexcept {
        begin_ += bytes;
        offset_ += bytes;
    }

    /// Of pending(), from where reading began.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// A regular file keeps what was read from it; a pipe does not.
    [[nodiscard]] bool keeps_its_bytes() const noexcept { return regular_file_; }
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    void make_room();

    std::vector<std::byte> data_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint64_t offset_ = 0;
    std::string name_;
    std::optional<std::chrono::steady_clock::time_point> deadline_;
    int fd_;
    bool owned_;
    bool regular_file_ = false;
};

}  // namespace pmemstream::tools
