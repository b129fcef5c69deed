#pragma once

#include "tests/crash/enumerator/mapped_file.hpp"
#include "tests/crash/enumerator/recorder.hpp"
#include "tests/crash/enumerator/stream_model.hpp"

#include <pmemstream/pmemstream.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace pmemstream::test {

/// What writers did to a file, and at each moment what they had told their callers.
struct recording {
    trace happened;
    std::vector<stream_model> states;  ///< the marks of the trace are their numbers
    std::size_t from = 0;              ///< the event where the interesting part begins
    std::size_t opened = 0;            ///< the event where the first opening had returned
};

/// The memory of the file behind the first `events`.
[[nodiscard]] image memory_after(const trace& happened, std::size_t events);
/// The number of the state that holds there.
[[nodiscard]] std::size_t state_after(const trace& happened, std::size_t events);

/// Follows the promises that stores make to readers: see stream_model.
class promise_watch {
public:
    explicit promise_watch(image memory) : memory_(std::move(memory)), slots_(slot_offsets(memory_)) {}
    /// Whether more is promised for the case of a power loss.
    bool apply(const trace_event& event);
    void add_to(stream_model& model) const;
    [[nodiscard]] const image& memory() const { return memory_; }

private:
    image memory_;
    std::vector<std::uint64_t> slots_;
    std::map<std::uint64_t, std::uint64_t> persisted_;
    std::map<std::uint64_t, std::uint64_t> committed_;
};

/// A writer at work on a file, recorded, with a model that is told what it does.
class stage {
public:
    /// On a file that holds `base`: as power loss left it, where `start` is not empty.
    stage(mapped_file& file, recorder& recorder, image base, stream_model start, std::uint64_t seed);
    /// Where the writer of `before` died after so many events. `file` is the one that it worked on.
    stage(mapped_file& file, recorder& recorder, const recording& before, std::size_t events, std::uint64_t seed);
    ~stage();
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;

    std::mt19937_64& random() { return random_; }
    /// Up to here it was preparation.
    void from_here() { recording_.from = recording_.happened.events.size(); }
    /// The end: what happens to the writer from now on is not recorded.
    [[nodiscard]] recording finish();

    /// Of another file, which is recorded as if it were this one.
    void create(const create_options& options);
    void open();
    void close();
    void allocate(const std::string& name, std::uint64_t size_bytes);
    void free(const std::string& name);
    void clear(const std::string& name);
    void append(const std::string& name, std::size_t payload_bytes, horizon how = horizon::committed);
    void append_batch(const std::string& name, std::vector<std::size_t> payload_bytes);
    /// Appends again what the last crash took of the region, or something else of the same length.
    void append_lost(const std::string& name, bool same, horizon how = horizon::committed);
    void reserve(const std::string& name, std::size_t payload_bytes);
    void publish(std::size_t number);
    void abandon(std::size_t number);
    void persist();
    /// Threads that wait for all that is committed to be persisted, again and again, beside whatever is done until
    /// stop_waiting(). Not for a recorder of stores, which follows one thread.
    void start_waiting(unsigned threads);
    void stop_waiting();

    [[nodiscard]] std::vector<std::string> names() const;
    [[nodiscard]] std::uint64_t room(const std::string& name) const;

private:
    void join_waiting();
    [[nodiscard]] region handle(const std::string& name) const;
    [[nodiscard]] std::vector<std::byte> payload(std::size_t bytes);
    void call(model_call what);
    void returned();
    void appended(const std::string& name, std::uint64_t must_sequence);
    void append_payload(const std::string& name, const std::vector<std::byte>& payload, horizon how);
    [[nodiscard]] std::uint64_t commit_offset(const std::string& name) const;

    mapped_file& file_;
    recorder& recorder_;
    std::mt19937_64 random_;
    recording recording_;
    stream_model now_;
    bool after_death_ = false;
    std::unique_ptr<writer> writer_;
    std::vector<std::pair<std::string, reservation>> reservations_;
    std::atomic<bool> stop_waiting_{false};
    std::atomic<unsigned> waits_failed_{0};
    std::vector<std::thread> waiting_;
    std::map<std::string, std::vector<std::vector<std::byte>>> lost_;
};

}  // namespace pmemstream::test
