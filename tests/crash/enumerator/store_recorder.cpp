#include "tests/crash/enumerator/store_recorder.hpp"

#include "src/base/checked.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pmemstream::test {

namespace {

store_recorder* recording = nullptr;

#if defined(__x86_64__)
constexpr greg_t trap_flag = 0x100;
// The widest store, and then that of a string instruction, which is let through as a whole.
constexpr std::uint64_t widest_store_bytes = 64;
#endif

}  // namespace

store_recorder::store_recorder() {
    recording = this;
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    action.sa_sigaction = &store_recorder::on_fault;
    ::sigaction(SIGSEGV, &action, &fault_before_);
    action.sa_sigaction = &store_recorder::on_trap;
    ::sigaction(SIGTRAP, &action, &trap_before_);
}

store_recorder::~store_recorder() {
    medium::observing = nullptr;
    ::sigaction(SIGSEGV, &fault_before_, nullptr);
    ::sigaction(SIGTRAP, &trap_before_, nullptr);
    recording = nullptr;
}

void store_recorder::begin(trace& to, const mapped_file&, image content) {
    to_ = &to;
    content_ = std::move(content);
    escaped_.clear();
    medium::observing = this;
}

void store_recorder::end() {
    if (mapping_ != nullptr) {
        compare_all("the end");
        protect(false);
        mapping_ = nullptr;
    }
    medium::observing = nullptr;
    to_ = nullptr;
    if (!escaped_.empty())
        throw std::runtime_error(escaped_);
}

void store_recorder::mark(std::uint64_t state) {
    to_->events.push_back({.what = trace_event::kind::mark, .value = state});
}

void store_recorder::mapped(const medium::mapping& m) {
    mapping_ = &m;
    data_ = m.data();
    if (m.bytes() != content_.size())
        escaped_ = "the mapping has another size than the file";
    compare_all("mapping");
    protect(true);
}

void store_recorder::unmapped(const medium::mapping& m) {
    if (&m != mapping_)
        return;
    compare_all("unmapping");
    protect(false);
    mapping_ = nullptr;
}

void store_recorder::flush(const medium::mapping& m, std::uint64_t offset, std::uint64_t bytes) {
    if (&m != mapping_ || bytes == 0)
        return;
    compare_all("a flush");
    to_->events.push_back({.what = trace_event::kind::flush,
                           .offset = static_cast<std::uint32_t>(offset),
                           .bytes = static_cast<std::uint32_t>(bytes)});
}

void store_recorder::drain(const medium::mapping& m) {
    if (&m != mapping_)
        return;
    compare_all("a drain");
    // Where other stores share its first and its last line, the copy vouches for nothing.
    const std::uint64_t first = base::round_up(copied_.offset, 64);
    const std::uint64_t last = (copied_.offset + copied_.bytes) / 64 * 64;
    copied_ = {};
    if (first < last)
        flush(m, first, last - first);
    to_->events.push_back({.what = trace_event::kind::drain});
}

/// Pieces that follow each other are one copy.
bool store_recorder::copy(const medium::mapping& m, std::uint64_t offset, const void*, std::size_t bytes) {
    if (&m != mapping_)
        return false;
    if (copied_.bytes == 0)
        copied_.offset = offset;
    else if (copied_.offset + copied_.bytes != offset)
        escaped_ = "two copies past the caches before a drain";
    copied_.bytes += bytes;
    return false;
}

int store_recorder::sync(const medium::mapping& m, std::span<const medium::mapping::range> ranges) {
    if (&m != mapping_)
        return 0;
    compare_all("a sync");
    for (const auto& range : ranges)
        to_->events.push_back({.what = trace_event::kind::sync,
                               .offset = static_cast<std::uint32_t>(range.offset),
                               .bytes = static_cast<std::uint32_t>(range.bytes)});
    return 0;
}

void store_recorder::compare_all(const char* when) {
    if (escaped_.empty() && std::memcmp(content_.data(), data_, content_.size()) != 0)
        escaped_ = fmt::format("a store to offset {} was not recorded before {}",
                               std::mismatch(content_.begin(), content_.end(), data_).first - content_.begin(), when);
}

void store_recorder::protect(bool on) noexcept {
    ::mprotect(data_, content_.size(), on ? PROT_READ : PROT_READ | PROT_WRITE);
}

void store_recorder::note_changes(std::uint64_t begin, std::uint64_t end) {
    begin &= ~std::uint64_t{7};
    end = std::min<std::uint64_t>(end, content_.size());
    for (std::uint64_t at = begin; at < end; at += 8) {
        if (std::memcmp(content_.data() + at, data_ + at, 8) == 0)
            continue;
        std::memcpy(content_.data() + at, data_ + at, 8);
        to_->events.push_back({.what = trace_event::kind::store,
                               .offset = static_cast<std::uint32_t>(at),
                               .value = word_at(content_, at)});
    }
}

void store_recorder::on_fault(int signal, siginfo_t* info, void* context) {
    auto& self = *recording;
    const auto* const at = static_cast<const std::byte*>(info->si_addr);
    if (self.mapping_ == nullptr || at < self.data_ || at >= self.data_ + self.content_.size()) {
        ::signal(signal, SIG_DFL);  // not ours: comes again, and ends the program
        return;
    }
#if defined(__x86_64__)
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    self.fault_at_ = static_cast<std::uint64_t>(at - self.data_);
    self.instruction_ = static_cast<std::uint64_t>(registers[REG_RIP]);
    registers[REG_EFL] |= trap_flag;
    self.protect(false);
#else
    (void)context;
    ::signal(signal, SIG_DFL);
#endif
}

void store_recorder::on_trap(int, siginfo_t*, void* context) {
#if defined(__x86_64__)
    auto& self = *recording;
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    // A repeated string instruction traps after every step, and goes upwards.
    if (static_cast<std::uint64_t>(registers[REG_RIP]) == self.instruction_)
        return;
    registers[REG_EFL] &= ~trap_flag;
    const auto* const target = reinterpret_cast<const std::byte*>(registers[REG_RDI]);
    std::uint64_t end = self.fault_at_ + 2 * widest_store_bytes;
    if (target > self.data_ && target <= self.data_ + self.content_.size())
        end = std::max(end, static_cast<std::uint64_t>(target - self.data_));
    self.note_changes(self.fault_at_ - std::min(self.fault_at_, widest_store_bytes), end);
    self.protect(true);
#else
    (void)context;
#endif
}

}  // namespace pmemstream::test
