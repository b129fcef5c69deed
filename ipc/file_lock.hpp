#pragma once

#include <pmemstream/result.hpp>

#include <cstdint>
#include <memory>
#include <string>

// Open-file-description locks (fcntl(2), F_OFD_SETLK): they belong to a descriptor opened for nothing else, so no
// close() elsewhere in the process drops them and they vanish with the process.
namespace pmemstream::ipc {

/// Held until destroyed. A forked child loses it at once.
class file_lock {
public:
    enum class kind : std::uint8_t { shared, exclusive };

    /// Locks the whole of the file at `path`, which must be the one that `data_fd` has open (it may have been replaced
    /// meanwhile: then errc::io). Never waits.
    /// In a forked child *fault_word gets fault_state::in_child, and *count, where one is given, becomes 0.
    /// Errors: writer_busy (somebody holds it exclusively), blocked_by_reader (shared), no_permission, io.
    [[nodiscard]] static result<std::unique_ptr<file_lock>> take(const std::string& path, int data_fd, kind which,
                                                                 std::uint32_t* fault_word,
                                                                 std::uint32_t* count = nullptr);
    ~file_lock();
    file_lock(const file_lock&) = delete;
    file_lock& operator=(const file_lock&) = delete;

    /// Lets go of it; a forked child is still told what it is.
    void drop() noexcept;

private:
    struct state;
    explicit file_lock(std::unique_ptr<state> held) noexcept;
    std::unique_ptr<state> state_;
};

/// True while somebody, through another open file description than `fd`, holds a conflicting lock on the bytes from
/// `start` (`bytes` 0: to the end). `exclusive`: ask as somebody who wants it exclusively.
[[nodiscard]] bool is_locked(int fd, bool exclusive, std::uint64_t start = 0, std::uint64_t bytes = 0) noexcept;

}  // namespace pmemstream::ipc
