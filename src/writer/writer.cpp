#include "ipc/control_file.hpp"
#include "ipc/futex.hpp"
#include "ipc/reader_control.hpp"
#include "src/base/failure.hpp"
#include "src/base/mapped.hpp"
#include "src/base/mutant.hpp"
#include "src/format/entry.hpp"
#include "src/recovery/opening.hpp"
#include "src/recovery/recovery.hpp"
#include "src/writer/writer_impl.hpp"

#include <pmemstream/detail/kill_point.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace pmemstream {

using base::failure;
using base::store_relaxed;
using base::store_release;

namespace {

/// Restored copies may be sparse; a full disk must be an error now and not a SIGBUS at an append.
result<void> check_space(const core::stream_file& file) {
    if (file.backing().is_device)
        return {};
    int code = 0;
    do
        code = ::fallocate(file.fd(), 0, 0, static_cast<off_t>(file.stream_bytes()));
    while (code != 0 && errno == EINTR);
    if (code == 0)
        return {};
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return {};  // the file system cannot promise space to anybody
    return base::system_failure(errno, "{}: making sure of its space", file.name());
}

/// What the environment says, where the program leaves it open.
result<page_sync> choose_sync(page_sync asked) {
    const char* const variable = std::getenv("PMEMSTREAM_SYNC");
    if (asked != page_sync::automatic || variable == nullptr)
        return asked;
    for (const auto known : {page_sync::automatic, page_sync::system_calls, page_sync::io_uring})
        if (variable == to_string(known))
            return known;
    return failure(errc::invalid_argument, "PMEMSTREAM_SYNC is \"{}\"; it can be automatic, system_calls or io_uring",
                   variable);
}

}  // namespace

result<void> writer::impl::open(const std::filesystem::path& path, const writer_options& options) {
    const auto sync_by = choose_sync(options.sync_by);
    if (!sync_by)
        return tl::unexpected(sync_by.error());
    auto opened = core::stream_file::open(path, medium::access::write, options.allow_network_filesystem, *sync_by);
    if (!opened)
        return tl::unexpected(std::move(opened.error()));
    file = std::move(*opened);
    const auto& identity = file->header().identity;
    fault_state = &file->medium().fault_state();
    auto taken = ipc::file_lock::take(file->path(), file->fd(), ipc::file_lock::kind::exclusive, fault_state,
                                      &hot.regions_inline);
    if (!taken) {
        if (taken.error().code() == errc::writer_busy)
            return failure(errc::writer_busy, "{} (pid {}, as it says)", taken.error().message(),
                           base::load_relaxed(identity.writer_pid));
        return tl::unexpected(std::move(taken.error()));
    }
    lock = std::move(*taken);
    base::die_at(base::kill_point::open_locked);
    if (auto done = check_space(*file); !done)
        return done;
    const auto last = core::look_at_last_writer(*file);
    if (!last)
        return tl::unexpected(last.error());
    if (last->pages_suspect)
        if (auto done = core::store_metadata_again(*file); !done)
            return done;
    if (auto done = table.refresh(*file); !done)
        return done;
    flusher.emplace(file->medium(), file->header(), *fault_state);
    flusher->use(slots_of_table());
    auto computed = core::compute_free_space(*file, table);
    if (!computed)
        return tl::unexpected(std::move(computed.error()));
    space = std::move(*computed);
    if (auto done = note_medium(take_over(*last)); !done)
        return done;
    control_wanted = !options.without_control;
    control_mode = options.control_mode.value_or(file->file_mode() & 0666);
    const bool fenced = identity.barrier_mode == static_cast<std::uint32_t>(format::barrier_mode::fence);
    bell.emplace(file->header().wake.committed, hot.doors, fenced);
    flusher->use(*bell);
    policy = options.policy;
    all_durable = options.returns_at == horizon::persisted;
    open_regions();
    if (options.without_control) {
        store_release(file->header().identity.control_nonce, std::uint64_t{0});
        ring_everybody();
    } else {
        // Without a control file readers poll: slower, and no reason not to write.
        (void)make_control_file();
    }
    keeper.emplace(std::chrono::milliseconds(100), [this](unsigned tick) {
        if (control_wanted)
            maintain_control_file(tick);
        flusher->maintain();
    });
    int code = keeper->start();
    if (code == 0)
        code = start_background(options);
    if (code != 0)
        return base::system_failure(code, "{}: starting a thread of the writer", file->name());
    return {};
}

/// The order of steps that lets an opening be cut short anywhere: offsets, then epoch and whose they are. Of a copy the epoch
/// first: as long as that is not durable, the next opening has to see that it is one.
result<void> writer::impl::take_over(core::last_writer last) {
    const auto& now = last.now;
    auto& identity = file->header().identity;
    if (file->epoch() + core::foreign_epochs > format::epoch_max)
        return failure(errc::exhausted, "{}: was opened for writing {} times, which is the most", file->name(),
                       format::epoch_max);
    flusher->set_epoch(file->epoch());
    last.row = core::reconsider_trust(*file, table, last);
    if (base::mutated(base::mutant::identity_first)) {
        identity.boot_id = now.boot_id;
        identity.st_dev = now.device;
        identity.st_ino = now.inode;
    }
    auto recovered = core::recover(*file, table, *flusher, last);
    if (!recovered)
        return tl::unexpected(std::move(recovered.error()));
    report = recovered->report;
    if (auto done = core::raise_features(*file); !done)
        return done;

    // [P13] The new epoch is durable before the first entry that carries it. Pairs with [P14] in scan.cpp.
    //       Without it: after power loss the entries of this writer seem to come from the future and are cut.
    const std::uint64_t epoch_before = file->epoch();
    epoch = epoch_before + (last.same_file ? 1 : core::foreign_epochs);
    core::begin_table_changes(*file, epoch);
    store_release(identity.epoch, format::epoch_word(epoch));
    if (!last.same_file)
        if (auto done = core::persist_identity(*file); !done)
            return done;
    if (!last.same_file)
        if (auto done = core::begin_lineage_change(*file, epoch_before); !done)
            return done;
    base::die_at(base::kill_point::open_epoch_stored);
    // [P11] Recovered offsets are durable before boot id and file say that they are this boot's and this file's. Pairs
    //       with [P12] in trust.cpp. Without it: after a crash here the offsets of a copy pass for ours.
    identity.boot_id = now.boot_id;
    identity.st_dev = now.device;
    identity.st_ino = now.inode;
    const auto sync_by = file->medium().synced_by();
    const std::uint32_t synced = sync_by ? static_cast<std::uint32_t>(*sync_by) + 1 : 0;
    identity.medium_flags = (file->medium().granularity_forced() ? format::medium_forced_flag : 0) |
                            (static_cast<std::uint32_t>(file->medium().granularity()) + 1)
                                << format::medium_granularity_shift |
                            synced << format::medium_sync_shift;
    store_relaxed(identity.writer_pid, static_cast<std::uint32_t>(::getpid()));
    store_release(identity.barrier_mode,
                  static_cast<std::uint32_t>(ipc::membarrier_register() ? format::barrier_mode::membarrier
                                                                        : format::barrier_mode::fence));
    if (auto done = core::persist_identity(*file); !done)
        return done;
    if (auto done = core::end_lineage_change(*file); !done)
        return done;
    base::die_at(base::kill_point::open_done);
    hot.base = file->bytes_at(0);
    hot.fault_state = fault_state;
    hot.stream_committed = &file->header().commit.sequence;
    hot.crc_of_epoch = format::entry_crc(0, 0, epoch, 0, 0);
    hot.epoch_bits = format::entry_meta::epoch_bits(epoch);
    hot.next_sequence = recovered->next_sequence;
    flusher->set_epoch(epoch);
    return {};
}

result<void> writer::impl::close() {
    if (has_fault(base::fault_state::closed))
        return {};
    // Also for a failure: the rest is the next writer's to recover.
    base::fault_state::set(*fault_state, base::fault_state::closed);
    hot.regions_inline = 0;
    if (has_fault(base::fault_state::in_child))
        return failure(errc::wrong_process, "{}: a forked child does not close its parent's writer", file->name());
    keeper.reset();
    background.reset();
    preparing.reset();
    auto done = close_in_order();
    lock->drop();
    return done;
}

result<void> writer::impl::close_in_order() {
    const auto lost = [this] {
        return failure(errc::io, "{}: part of the mapping is lost; the stream stays unclean", file->name());
    };
    if (file->medium().has_faulted())
        return lost();
    ring_everybody();  // there is nobody left to ring later what was put off
    const durability::flusher::pause pause(*flusher);
    if (base::mutated(base::mutant::clean_first)) {
        store_release(file->header().identity.clean_epoch, format::epoch_word(epoch));
        (void)file->persist(file->header().identity);
    }
    auto done = flusher->persist_everything();
    if (file->medium().has_faulted())
        return lost();
    if (!done)
        return done;
    base::die_at(base::kill_point::close_persisted);
    // [P15] Everything is durable before the stream calls itself clean. Pairs with [P16] in trust.cpp.
    //       Without it: after power loss commit offsets are trusted that cover torn entries.
    auto& identity = file->header().identity;
    store_release(identity.clean_epoch, format::epoch_word(epoch));
    return file->persist(identity);
}

tl::unexpected<error> writer::impl::unusable() const {
    if (has_fault(base::fault_state::in_child))
        return failure(errc::wrong_process, "{}: a forked child must not use the writer of its parent", file->name());
    if (has_fault(base::fault_state::closed))
        return failure(errc::invalid_argument, "{}: the writer is closed", file->name());
    return file->lost();
}

tl::unexpected<error> writer::impl::gone(region where) const {
    return failure(errc::region_gone, "{}: region slot {}, generation {}: freed or cleared", file->name(),
                   where.index(), where.generation());
}

// --- the public class -----------------------------------------------------------------------------------------------

writer::~writer() {
    if (!impl_)
        return;
    // A forked child has neither the mapping nor the housekeeper's thread; taking either down would unmap what is not
    // ours and wait for nobody.
    if (impl_->has_fault(base::fault_state::in_child))
        (void)impl_.release();
    else
        (void)close();
}

result<std::unique_ptr<writer>> writer::open(const std::filesystem::path& file, const writer_options& options) {
    std::unique_ptr<writer> opened(new writer);
    auto state = std::make_unique<impl>(opened->state_);
    auto done = state->open(file, options);
    if (state->file && state->file->is_lost())
        return state->file->lost();
    if (!done)
        return tl::unexpected(std::move(done.error()));
    opened->impl_ = std::move(state);
    return opened;
}

result<void> writer::close() noexcept {
    return impl_->close();
}

const recovery_report& writer::recovery() const noexcept {
    return impl_->report;
}

stream_info writer::info() const {
    if (!impl_->usable()) {
        stream_info little;  // a child has no mapping to look at
        little.file = impl_->file->name();
        return little;
    }
    return core::describe_stream(*impl_->file, impl_->table);
}

result<region> writer::allocate(std::uint64_t size_bytes, std::string_view name, const region_attributes& attributes) {
    return impl_->ask([&] { return impl_->allocate(size_bytes, name, attributes); });
}

result<region_attributes> writer::attributes(region where) const {
    return impl_->ask([&] { return core::describe_attributes(*impl_->file, impl_->table, where); });
}

result<void> writer::free(region where, bool force) {
    return impl_->ask([&] { return impl_->free(where, force); });
}

result<region> writer::clear(region where, bool force) {
    return impl_->ask([&] { return impl_->clear(where, force); });
}

result<region> writer::find(std::string_view name) const {
    return impl_->ask([&] { return core::find_region(*impl_->file, impl_->table, name); });
}

result<std::vector<region_info>> writer::regions() const {
    return impl_->ask([&] { return core::list_regions(*impl_->file, impl_->table); });
}

result<region_info> writer::describe(region where) const {
    return impl_->ask([&]() -> result<region_info> {
        if (impl_->find_open(where) == nullptr)
            return impl_->gone(where);
        return core::describe_region(*impl_->file, impl_->table, where);
    });
}

result<reservation> writer::reserve(region where, std::uint64_t payload_bytes) noexcept {
    auto claimed = impl_->reserve(where, payload_bytes);
    if (!claimed)
        return tl::unexpected(std::move(claimed.error()));
    return reservation(this, where, claimed->first, claimed->second);
}

bool writer::take(reservation& entry) const noexcept {
    if (entry.owner_ != this)
        return false;
    entry.owner_ = nullptr;
    entry.payload_ = {};
    return true;
}

result<sequence> writer::publish(reservation&& entry) noexcept {
    if (!take(entry))
        return failure(errc::invalid_argument, "{}: not an open reservation of this writer", impl_->file->name());
    auto published = impl_->finish(entry.where_, entry.claim_, core::claim::state::ready);
    return impl_->all_durable ? impl_->persist_appended(entry.where_.index(), std::move(published)) : published;
}

result<void> writer::abandon(reservation&& entry) noexcept {
    if (!take(entry))
        return failure(errc::invalid_argument, "{}: not an open reservation of this writer", impl_->file->name());
    auto done = impl_->finish(entry.where_, entry.claim_, core::claim::state::abandoned);
    // It may have been all that others waited for to be committed.
    if (impl_->all_durable)
        done = impl_->persist_appended(entry.where_.index(), std::move(done));
    return done ? result<void>() : tl::unexpected(std::move(done.error()));
}

std::uint64_t writer::doorbell_rings() const noexcept {
    return impl_->bell->rings();
}

reservation::reservation(reservation&& other) noexcept
    : payload_(std::exchange(other.payload_, {})),
      owner_(std::exchange(other.owner_, nullptr)),
      where_(other.where_),
      claim_(other.claim_) {}

reservation& reservation::operator=(reservation&& other) noexcept {
    if (this != &other) {
        if (owner_ != nullptr)
            (void)owner_->abandon(std::move(*this));
        payload_ = std::exchange(other.payload_, {});
        owner_ = std::exchange(other.owner_, nullptr);
        where_ = other.where_;
        claim_ = other.claim_;
    }
    return *this;
}

reservation::~reservation() {
    if (owner_ != nullptr)
        (void)owner_->abandon(std::move(*this));
}

}  // namespace pmemstream
