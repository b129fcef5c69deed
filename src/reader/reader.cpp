#include "ipc/control_file.hpp"
#include "ipc/file_lock.hpp"
#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/base/unique_fd.hpp"
#include "src/reader/reader_impl.hpp"
#include "src/recovery/trust.hpp"
#include "src/stream/free_space.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

namespace pmemstream {

using base::failure;
using base::load_acquire;

namespace {

std::string name_of_program() {
    std::array<char, 64> name{};
    const base::unique_fd fd(::open("/proc/self/comm", O_RDONLY | O_CLOEXEC));
    const ssize_t got = fd ? ::read(fd.get(), name.data(), name.size() - 1) : 0;
    std::string text(name.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    if (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

/// After a clean close everything committed is persisted; where the header says otherwise one of the two is damaged.
result<void> check_clean_header(const core::stream_file& file) {
    const auto& header = file.header();
    const std::uint64_t clean = core::clean_epoch(header);
    const std::uint64_t persisted = load_acquire(header.persist.sequence);
    const std::uint64_t committed = load_acquire(header.commit.sequence);
    if (committed > format::sequence_max ||
        (persisted != committed && clean != 0 && clean == core::clean_epoch(header)))
        return failure(errc::corrupt,
                       "{}: the header (offset {}) gives impossible sequences: committed {}, persisted {}", file.name(),
                       format::header_offset, committed, persisted);
    return {};
}

/// After power loss, or of a copy taken in use, commit offsets may cover torn entries until a writer has recovered
/// them.
bool is_unrecovered(const core::stream_file& file) {
    const auto now = core::current_identity(file);
    // Beside a writer too: it says whose the offsets are only when it has recovered them.
    return !now || core::decide_trust(file.header().identity, *now) == core::trust::rescan;
}

}  // namespace

result<core::region_table> reader::impl::current_table() {
    const std::lock_guard lock(mutex);
    if (auto done = table.refresh(*file); !done)
        return tl::unexpected(std::move(done.error()));
    return table;
}

result<entry_walk> reader::impl::walk(const core::region_table& now, region where, horizon horizon, bool check_crc) {
    if (auto info = core::describe_region(*file, now, where); !info)
        return tl::unexpected(std::move(info.error()));
    const auto& slot = now.slot(where.index());
    auto cold = core::read_cold(*file, slot, where.index(), true);
    if (!cold)
        return tl::unexpected(std::move(cold.error()));
    if (!*cold || format::generation_of((*cold)->state) != where.generation())
        return core::gone_region(*file, where);
    if (auto fine = format::check_slot_flags(**cold, where.index(), file->name()); !fine)
        return tl::unexpected(std::move(fine.error()));
    entry_walk walk(*file, slot, view(slot, where), **cold, horizon, check_crc);
    if (unrecovered)
        walk.distrust();
    return walk;
}

const detail::generation_view& reader::impl::view(const format::region_slot& slot, region where) {
    const std::lock_guard lock(mutex);
    auto& kept = views[{where.index(), where.generation()}];
    if (kept.file == nullptr)
        kept = {file->bytes_at(0), &slot.cold.state, format::state_word(where.generation(), format::slot_state::live),
                &file->medium().fault_state(), where.index()};
    return kept;
}

result<reader> reader::open(const std::filesystem::path& file, const reader_options& options) {
    auto opened = core::stream_file::open(file, medium::access::read, options.allow_network_filesystem);
    if (!opened)
        return tl::unexpected(std::move(opened.error()));
    auto self = std::make_shared<impl>();
    self->file = std::move(*opened);
    self->copy_up = core::copy_up_watch::make_if_needed(*self->file);
    self->epoch_at_open = self->file->epoch();
    const auto looked = self->file->ask([&]() -> result<void> {
        if (auto done = self->table.refresh(*self->file); !done)
            return done;
        self->unrecovered = is_unrecovered(*self->file);
        return check_clean_header(*self->file);
    });
    if (!looked)
        return tl::unexpected(looked.error());
    self->control = std::make_shared<ipc::reader_control>(
        ipc::control_place::beside(self->file->path(), self->file->device(), self->file->inode()), self->file->header(),
        self->file->owner(), options.without_control, options.name.empty() ? name_of_program() : options.name);
    return reader(std::move(self));
}

stream_info reader::info() const {
    auto table = impl_->current_table();
    auto all = core::describe_stream(*impl_->file, table ? *table : impl_->table);
    return impl_->file->is_lost() ? core::describe_superblock(*impl_->file) : all;
}

sequence reader::committed() const noexcept {
    return sequence{load_acquire(impl_->file->header().commit.sequence)};
}

sequence reader::persisted() const noexcept {
    return sequence{load_acquire(impl_->file->header().persist.sequence)};
}

result<region> reader::find(std::string_view name) const {
    return impl_->ask([&](const auto& table) { return core::find_region(*impl_->file, table, name); });
}

result<region_info> reader::describe(region where) const {
    return impl_->ask([&](const auto& table) { return core::describe_region(*impl_->file, table, where); });
}

result<region_attributes> reader::attributes(region where) const {
    return impl_->ask([&](const auto& table) { return core::describe_attributes(*impl_->file, table, where); });
}

result<std::vector<region_info>> reader::regions() const {
    return impl_->ask([&](const auto& table) { return core::list_regions(*impl_->file, table); });
}

result<std::vector<extent_info>> reader::extents() const {
    return impl_->ask([&](const auto& table) { return core::list_extents(*impl_->file, table); });
}

writer_status reader::writer() const noexcept {
    const auto& identity = impl_->file->header().identity;
    writer_status status;
    status.epoch = impl_->file->epoch();
    status.pid = load_acquire(identity.writer_pid);
    status.alive = ipc::is_locked(impl_->file->fd(), false);
    if (impl_->file->is_lost())  // a header of zeros names no writer; epochs only rise
        status.epoch = std::max(status.epoch, impl_->epoch_at_open);
    status.restarted = status.epoch != impl_->epoch_at_open;
    return status;
}

control_state reader::control() const noexcept {
    return impl_->control->state();
}

result<std::vector<registered_reader>> reader::registered() const {
    const auto lost = [this] {
        return failure(errc::control_lost, "{}: its control file was truncated; a writer makes another",
                       impl_->file->name());
    };
    if (impl_->control->state() == control_state::lost)
        return lost();
    return impl_->file->ask([&]() -> result<std::vector<registered_reader>> {
        // Opened anew: the locks of the description that this process' cursors hold do not conflict with themselves.
        auto file = impl_->control->open_anew();
        if (!file) {
            if (file.error().code() == errc::not_found)
                return std::vector<registered_reader>();
            return tl::unexpected(std::move(file.error()));
        }
        auto all = ipc::registered_readers(**file, (*file)->fd());
        if ((*file)->lost())  // meanwhile: an empty table, or half of one, is no answer
            return lost();
        return all;
    });
}

result<std::shared_ptr<void>> reader::block_writers() const {
    auto no_word =
        std::make_shared<std::uint32_t>(0);  // a reader may be used in a forked child; only the lock ends there
    auto lock =
        ipc::file_lock::take(impl_->file->path(), impl_->file->fd(), ipc::file_lock::kind::shared, no_word.get());
    if (!lock)
        return tl::unexpected(std::move(lock.error()));
    return std::shared_ptr<void>(lock->release(), [no_word](void* held) { delete static_cast<ipc::file_lock*>(held); });
}

result<void> entry::read_into(std::vector<std::byte>& to) const {
    bool valid_early = false;
    if (base::mutated(base::mutant::validity_before_payload)) {
        valid_early = valid();
        base::die_at(base::kill_point::payload_copied);
    }
    to.assign(payload_, payload_ + payload_bytes_);
    base::die_at(base::kill_point::payload_copied);
    if (valid_early || valid())
        return {};
    to.clear();
    if (__atomic_load_n(view_->faulted, __ATOMIC_RELAXED) != 0)
        return failure(errc::io, "the entry at offset {}: part of the mapping is lost", to_uint(offset()));
    return failure(errc::region_gone, "the entry at offset {}: its region was freed or cleared", to_uint(offset()));
}

}  // namespace pmemstream
