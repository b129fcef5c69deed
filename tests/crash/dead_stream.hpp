#pragma once

#include "src/format/entry.hpp"
#include "src/format/layout.hpp"
#include "src/recovery/trust.hpp"
#include "tests/support/child.hpp"
#include "tests/support/file_image.hpp"
#include "tests/support/small_stream.hpp"

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace pmemstream::test {

/// A stream whose writers die, and whose header can be made to say other things.
struct dead_stream : small_stream {
    explicit dead_stream(std::uint64_t stream_bytes = 64 << 10, std::uint64_t block_bytes = 64)
        : small_stream(stream_bytes, block_bytes) {}

    /// Opens a writer in a process of its own, which is killed when `body` returns: nothing is closed.
    void dies_after(const std::function<void(writer&)>& body) const {
        child dying([&] {
            const auto to = write();
            body(*to);
            std::raise(SIGKILL);
            return 0;
        });
        const auto end = dying.wait();
        if (!end.signalled || end.code != SIGKILL)
            give_up("the process did not come to be killed");
    }

    static constexpr std::uint64_t identity = format::header_offset;
    static constexpr std::uint64_t boot_id = identity + offsetof(format::identity_line, boot_id);
    static constexpr std::uint64_t stream_sequence = format::header_offset + offsetof(format::shared_header, commit);

    [[nodiscard]] static constexpr std::uint64_t slot(std::uint32_t index) {
        return format::first_slots_offset + index * sizeof(format::region_slot);
    }
    [[nodiscard]] static constexpr std::uint64_t commit_offset(std::uint32_t index) {
        return slot(index) + offsetof(format::region_slot, commit);
    }
    [[nodiscard]] static constexpr std::uint64_t commit_sequence(std::uint32_t index) {
        return commit_offset(index) + offsetof(format::slot_commit_line, sequence);
    }
    [[nodiscard]] static constexpr std::uint64_t persisted_offset(std::uint32_t index) {
        return slot(index) + offsetof(format::region_slot, persist);
    }

    /// As after a restart of the machine: what is not persisted has to be scanned.
    void reboot() const { flip(file, boot_id + 5); }

    /// Where entry `n` (from 0, behind the head) of a region begins when all have payloads of 1 to 8 bytes.
    [[nodiscard]] std::uint64_t entry_at(std::uint32_t index, std::uint64_t n) const {
        const std::uint64_t head = peek<std::uint64_t>(file, slot(index) + offsetof(format::slot_cold, extent_offset)) +
                                   sizeof(format::extent_header);
        return head + format::entry_bytes(peek<std::uint32_t>(file, head)) + 24 * n;
    }
};

/// Everything in a region, as text.
[[nodiscard]] inline texts content(const small_stream& stream, const std::string& name = "r") {
    const auto from = stream.read();
    return texts_in(from, must(from.find(name)));
}

}  // namespace pmemstream::test
