#include "tests/crash/enumerator/stage.hpp"

#include "src/format/layout.hpp"
#include "tests/support/expect.hpp"
#include "tests/support/require.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

namespace pmemstream::test {

image memory_after(const trace& happened, std::size_t events) {
    image memory = happened.base;
    for (std::size_t i = 0; i < events; ++i)
        if (is_store(happened.events[i]))
            apply_store(memory, happened.events[i]);
    return memory;
}

std::size_t state_after(const trace& happened, std::size_t events) {
    for (std::size_t i = events; i-- > 0;)
        if (happened.events[i].what == trace_event::kind::mark)
            return happened.events[i].value;
    return 0;
}

bool promise_watch::apply(const trace_event& event) {
    if (event.what == trace_event::kind::mark)
        slots_ = slot_offsets(memory_);
    if (!is_store(event))
        return false;
    apply_store(memory_, event);
    for (const auto slot : slots_) {
        const std::uint64_t state = word_at(memory_, slot);
        if (format::state_of(state) != format::slot_state::live)
            continue;
        const std::uint64_t generation = format::generation_of(state);
        if (event.offset == slot + offsetof(format::region_slot, persist)) {
            auto& end = persisted_[generation];
            const std::uint64_t before = std::exchange(end, std::max(end, format::persisted_offset_of(event.value)));
            return before < end;
        }
        if (event.offset == slot + offsetof(format::region_slot, commit))
            committed_[generation] = event.value;
    }
    return false;
}

void promise_watch::add_to(stream_model& model) const {
    for (const auto& [generation, end] : persisted_)
        model.must_reach(generation, end);
    for (const auto& [generation, end] : committed_)
        model.commit_end[generation] = end;
}

stage::stage(mapped_file& file, recorder& recorder, image base, stream_model start, std::uint64_t seed)
    : file_(file), recorder_(recorder), random_(seed), now_(std::move(start)) {
    now_.commit_end.clear();
    file_.write(base);
    recording_.happened.base = base;
    recording_.states.push_back(now_);
    recorder_.begin(recording_.happened, file_, std::move(base));
    recorder_.mark(0);
}

stage::stage(mapped_file& file, recorder& recorder, const recording& before, std::size_t events, std::uint64_t seed)
    : file_(file), recorder_(recorder), random_(seed), recording_(before), after_death_(events >= before.opened) {
    auto& happened = recording_.happened;
    now_ = recording_.states[state_after(happened, events)];
    happened.events.resize(events);
    recording_.from = events;
    if (!after_death_)
        recording_.opened = 0;
    const image memory = memory_after(happened, events);
    file_.write(memory);
    recorder_.begin(happened, file_, memory);
}

stage::~stage() {
    join_waiting();
    try {
        recorder_.end();
    } catch (const std::exception&) {  // it was told by finish(), or something worse was
    }
    reservations_.clear();
}

recording stage::finish() {
    stop_waiting();
    recorder_.end();
    return std::move(recording_);
}

void stage::call(model_call what) {
    now_.call = std::move(what);
    recording_.states.push_back(now_);
    recorder_.mark(recording_.states.size() - 1);
}

void stage::returned() {
    const auto persisted = writer_ ? to_uint(writer_->persisted()) : 0;
    now_.call = {};
    now_.persisted_up_to(persisted);
    for (const auto& r : now_.regions) {
        now_.newest_committed = std::max(now_.newest_committed, r.newest());
        now_.commit_end[r.generation] = r.end();
    }
    recording_.states.push_back(now_);
    recorder_.mark(recording_.states.size() - 1);
}

void stage::create(const create_options& options) {
    const auto made = file_.path().string() + ".created";
    call({.what = model_call::kind::create});
    must(pmemstream::create(made, options));
    std::filesystem::remove(made);
    returned();
}

void stage::open() {
    lost_.clear();
    writer_ = must(writer::open(file_.path(), {.control_mode = {}, .without_control = true}));
    const auto seen = see(file_.bytes());
    promise_watch promises(recording_.happened.base);
    for (const auto& event : recording_.happened.events)
        (void)promises.apply(event);
    promises.add_to(now_);
    const bool reopened = recording_.opened != 0 && !after_death_;
    const auto how = after_death_ || reopened ? crash::process_died : crash::power_lost;
    const auto newest = now_.compare(seen, how);
    const auto before = now_;
    now_.adopt(seen, how, newest);
    for (const auto& r : before.regions) {
        auto units = r.units;
        if (before.call.generation == r.generation)
            units.insert(units.end(), before.call.units.begin(), before.call.units.end());
        if (const auto* kept = now_.find(r.generation))
            for (std::size_t i = kept->units.size(); i < units.size(); ++i)
                for (const auto& e : units[i]->entries)
                    lost_[r.name].emplace_back(e.begin() + 16, e.end());
    }
    after_death_ = false;
    returned();
    if (recording_.opened == 0)
        recording_.opened = recording_.happened.events.size();
}

void stage::close() {
    call({});
    must(writer_->close());
    writer_.reset();
    now_.persisted_up_to(now_.newest_committed);
    for (const auto& r : now_.regions)
        now_.must_reach(r.generation, r.end());
    returned();
}

region stage::handle(const std::string& name) const {
    return must(writer_->find(name));
}

std::vector<std::string> stage::names() const {
    std::vector<std::string> names;
    for (const auto& r : now_.regions)
        names.push_back(r.name);
    return names;
}

std::uint64_t stage::room(const std::string& name) const {
    return must(writer_->describe(handle(name))).free_bytes();
}

std::vector<std::byte> stage::payload(std::size_t bytes) {
    std::vector<std::byte> made(bytes);
    for (auto& b : made)
        b = static_cast<std::byte>(random_());
    return made;
}

void stage::allocate(const std::string& name, std::uint64_t size_bytes) {
    call({.what = model_call::kind::allocate, .name = name});
    // So that with a name of one byte the head takes 128 bytes: the entries of the first region begin one line before a
    // sector ends, and few of them lie in more than one sector.
    static const region_attributes attributes{.content_type = {}, .values = {{"pad", std::string(68, 'x')}}};
    const auto made = must(writer_->allocate(size_bytes, name, attributes));
    const auto info = must(writer_->describe(made));
    now_.newest_generation = made.generation();
    now_.regions.push_back({.name = name, .generation = made.generation(), .begin = to_uint(info.begin)});
    returned();
}

void stage::free(const std::string& name) {
    const auto where = handle(name);
    call({.what = model_call::kind::free, .generation = where.generation()});
    must(writer_->free(where));
    now_.newest_persisted = std::max(now_.newest_persisted, now_.region(name).newest());
    std::erase_if(now_.regions, [&](const auto& r) { return r.name == name; });
    returned();
}

void stage::clear(const std::string& name) {
    const auto where = handle(name);
    call({.what = model_call::kind::clear, .generation = where.generation()});
    const auto made = must(writer_->clear(where));
    auto& region = now_.region(name);
    now_.newest_persisted = std::max(now_.newest_persisted, region.newest());
    now_.newest_generation = made.generation();
    region.generation = made.generation();
    region.units.clear();
    returned();
}

std::uint64_t stage::commit_offset(const std::string& name) const {
    return to_uint(must(writer_->describe(handle(name))).committed_end);
}

/// What the call that is about to return committed in the region, read from memory; up to a sequence it must stay.
void stage::appended(const std::string& name, std::uint64_t must_sequence) {
    auto& region = now_.region(name);
    const auto units = units_in(file_.bytes(), region.end(), commit_offset(name));
    recording_.states.back().call.units = units;
    for (const auto& unit : units) {
        require(unit->newest == 0 || unit->newest > now_.newest_committed, "sequence {} after {}", unit->newest,
                now_.newest_committed);
        now_.newest_committed = std::max(now_.newest_committed, unit->newest);
        region.units.push_back(unit);
    }
    for (const auto& unit : region.units)
        if (unit->newest != 0 && unit->newest <= must_sequence) {
            now_.must_reach(region.generation, unit->end);
            now_.newest_persisted = std::max(now_.newest_persisted, unit->newest);
        }
    returned();
}

void stage::append_payload(const std::string& name, const std::vector<std::byte>& payload, horizon how) {
    const auto where = handle(name);
    call({.what = model_call::kind::append, .generation = where.generation()});
    const auto given =
        must(how == horizon::committed ? writer_->append(where, payload) : writer_->append(where, payload, how));
    appended(name, how == horizon::persisted ? to_uint(given) : 0);
    const auto& written = now_.region(name).units.back()->entries.back();
    require(std::equal(payload.begin(), payload.end(), written.begin() + 16, written.end()),
            "the payload in memory is not what was appended");
}

void stage::append(const std::string& name, std::size_t payload_bytes, horizon how) {
    append_payload(name, payload(payload_bytes), how);
}

void stage::append_lost(const std::string& name, bool same, horizon how) {
    auto& lost = lost_[name];
    if (lost.empty()) {
        append(name, 8 + random_() % 24, how);
        return;
    }
    auto again = lost.front();
    lost.erase(lost.begin());
    append_payload(name, same ? again : payload(again.size()), how);
}

void stage::append_batch(const std::string& name, std::vector<std::size_t> payload_bytes) {
    std::vector<std::vector<std::byte>> payloads;
    for (const auto bytes : payload_bytes)
        payloads.push_back(payload(bytes));
    const std::vector<std::span<const std::byte>> batch(payloads.begin(), payloads.end());
    const auto where = handle(name);
    call({.what = model_call::kind::append, .generation = where.generation()});
    (void)must(writer_->append_batch(where, batch));
    appended(name, 0);
}

void stage::reserve(const std::string& name, std::size_t payload_bytes) {
    auto made = must(writer_->reserve(handle(name), payload_bytes));
    const auto content = payload(payload_bytes);
    std::copy(content.begin(), content.end(), made.payload().begin());
    reservations_.emplace_back(name, std::move(made));
}

void stage::publish(std::size_t number) {
    const auto name = reservations_[number].first;
    call({.what = model_call::kind::append, .generation = handle(name).generation()});
    (void)must(writer_->publish(std::move(reservations_[number].second)));
    appended(name, 0);
}

void stage::abandon(std::size_t number) {
    const auto name = reservations_[number].first;
    call({.what = model_call::kind::append, .generation = handle(name).generation()});
    must(writer_->abandon(std::move(reservations_[number].second)));
    appended(name, 0);
}

void stage::persist() {
    call({});
    must(writer_->persist());
    now_.persisted_up_to(now_.newest_committed);
    returned();
}

void stage::start_waiting(unsigned threads) {
    stop_waiting_ = false;
    for (unsigned i = 0; i < threads; ++i)
        waiting_.emplace_back([this, &on = *writer_] {
            while (!stop_waiting_) {
                waits_failed_ += on.wait_persisted(on.committed()) ? 0 : 1;
                std::this_thread::sleep_for(std::chrono::microseconds(20));
            }
        });
}

void stage::join_waiting() {
    stop_waiting_ = true;
    for (auto& thread : std::exchange(waiting_, {}))
        thread.join();
}

void stage::stop_waiting() {
    join_waiting();
    require(waits_failed_ == 0, "{} of the waits beside the writer failed", waits_failed_.load());
}

}  // namespace pmemstream::test
