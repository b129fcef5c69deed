#include "src/recovery/trust.hpp"

#include "src/base/failure.hpp"
#include "src/base/mutant.hpp"
#include "src/base/unique_fd.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace pmemstream::core {

using base::failure;

result<file_identity> current_identity(const stream_file& file) {
    static constexpr const char* path = "/proc/sys/kernel/random/boot_id";
    const base::unique_fd fd(::open(path, O_RDONLY | O_CLOEXEC));
    char text[37] = {};
    if (!fd || ::read(fd.get(), text, 36) != 36)
        return base::system_failure(errno, "{}: reading the boot id", path);
    file_identity now;
    now.device = file.backing().device;
    now.inode = file.backing().inode;
    std::size_t digits = 0;
    for (const char c : text) {
        const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value < 0)
            continue;
        auto& byte = now.boot_id[digits / 2 % now.boot_id.size()];
        byte = static_cast<std::byte>(std::to_integer<int>(byte) << 4 | value);
        ++digits;
    }
    if (digits != 2 * now.boot_id.size())
        return failure(errc::io, "{}: not a boot id: {}", path, text);
    return now;
}

bool is_same_file(const format::identity_line& identity, const file_identity& now) noexcept {
    return identity.epoch == 0 || (identity.st_dev == now.device && identity.st_ino == now.inode);
}

trust decide_trust(const format::identity_line& identity, const file_identity& now) noexcept {
    // [P16] Whoever closed this stream persisted everything first. Pairs with [P15] in writer.cpp.
    const bool ever_closed = base::mutated(base::mutant::clean_for_ever) && identity.clean_epoch != 0;
    if (identity.clean_epoch == identity.epoch || ever_closed)
        return trust::clean;
    // [P12] Boot and file are the ones whose offsets these are. Pairs with [P11] in writer.cpp.
    const bool ours = (identity.boot_id == now.boot_id && is_same_file(identity, now)) ||
                      base::mutated(base::mutant::identity_ignored);
    const bool holds = ours && (identity.medium_flags & format::medium_error_flag) == 0;
    return holds ? trust::process_died : trust::rescan;
}

result<last_writer> look_at_last_writer(const stream_file& file) {
    auto now = current_identity(file);
    if (!now)
        return tl::unexpected(std::move(now.error()));
    const format::identity_line identity = file.header().identity;
    last_writer last{.now = *now,
                     .row = decide_trust(identity, *now),
                     .same_file = is_same_file(identity, *now),
                     .refused = (identity.medium_flags & format::medium_error_flag) != 0};
    last.pages_suspect = !file.medium().flushes() && (last.refused || last.row != trust::clean || !last.same_file);
    return last;
}

trust reconsider_trust(const stream_file& file, const region_table& table, const last_writer& last) noexcept {
    const auto& header = file.header();
    if (last.row != trust::clean || last.same_file)
        return last.row;
    bool agrees = header.commit.sequence == header.persist.sequence;
    for (std::uint32_t i = 0; i < table.slots(); ++i) {
        const auto& slot = table.slot(i);
        if (format::state_of(slot.cold.state) == format::slot_state::live)
            agrees = agrees && slot.commit.sequence == slot.persist.sequence &&
                     format::persisted_word(slot.commit.commit_offset, file.epoch()) == slot.persist.persisted;
    }
    return agrees ? last.row : trust::rescan;
}

}  // namespace pmemstream::core
