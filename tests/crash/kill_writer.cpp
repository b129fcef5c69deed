// A writer to be killed: appends numbered entries and does everything else a writer does, and reports every step
// through a pipe. Where it dies is said by the environment (PMEMSTREAM_KILL, read by the library at its first use in a
// process), so it is a program of its own.
//
//   kill_writer write FILE FD SEED FIRST COUNT FOCUS   COUNT entries from number FIRST; FOCUS: the step it does most
//   kill_writer look FILE FD SEED FIRST MODE           reports the content before and after opening, appends a few
//                                                      more, then MODE: close (and open and close again), or die
//   kill_writer open FILE                              opens; exit code 0 when that worked
#include "tests/crash/kill_report.hpp"
#include "tests/support/expect.hpp"

#include <pmemstream/pmemstream.hpp>

#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace pmemstream;
using namespace pmemstream::test;

class kill_writer {
public:
    kill_writer(std::string file, int pipe, std::uint64_t seed, std::uint64_t first)
        : file_(std::move(file)), random_(seed ^ mixed(first)), seed_(seed), number_(first), pipe_(pipe) {}

    void open() {
        tell({report_kind::about_to_open});
        // Some persist each entry before they report it, some in the background too, most when they are told.
        writer_options options;
        options.without_control = random_() % 8 != 0;
        if (random_() % 4 == 0)
            options.returns_at = horizon::persisted;
        if (random_() % 4 == 0)
            options.policy.every = std::chrono::milliseconds(1);
        writer_ = must(writer::open(file_, options));
        tell({report_kind::opened, 0, static_cast<std::uint64_t>(writer_->recovery().found), writer_->info().epoch});
        live_.clear();
        for (const auto& r : must(writer_->regions()))
            live_.push_back({static_cast<std::uint32_t>(std::stoul(r.name.substr(7))), r.handle});
    }

    void close() {
        tell({report_kind::about_to_close});
        must(writer_->close());
        writer_.reset();
        tell({report_kind::closed});
    }

    void write(std::uint64_t count, std::string_view focus) {
        end_ = number_ + count;
        regions_max_ = focus == "grow" ? 60 : 8;
        open();
        while (live_.size() < 3)
            allocate();
        append(1);
        while (number_ < end_) {
            step(random_() % 4 == 0 ? focus : "");
            if (focus == "grow")
                step("allocate");
        }
    }

    /// Everything that a reader sees. It goes by what the stream says, not by what this process knows.
    void look() {
        const auto from = must(reader::open(file_, {.name = {}, .without_control = true}));
        tell({report_kind::look_begins});
        for (const auto& r : must(from.regions())) {
            const auto name = static_cast<std::uint32_t>(std::stoul(r.name.substr(7)));
            if (must(from.find(r.name)) != r.handle)
                give_up("a region is not found by its name");
            tell({report_kind::look_region, name, 0, r.handle.generation()});
            auto cursor = must(from.follow(r.handle, {.check_crc = true}));
            for (const entry& e : cursor)
                tell({report_kind::look_entry, name, digest(e.payload()), to_uint(e.sequence()),
                      e.where().generation()});
            must(cursor.status());
        }
        auto all = must(from.follow_all({.check_crc = true}));
        for (const entry& e : all)
            tell({report_kind::look_merged, 0, digest(e.payload()), to_uint(e.sequence()), e.where().generation()});
        must(all.status());
        tell({report_kind::look_ends});
    }

    void go_on(bool and_close) {
        end_ = number_ + 3;
        if (live_.empty())
            allocate();
        append(1);
        append(2);
        if (!and_close)
            std::raise(SIGKILL);
        close();
        open();
        close();
    }

private:
    struct live_region {
        std::uint32_t name;
        region handle;
    };

    void tell(const report& what) const {
        if (::write(pipe_, &what, sizeof what) != static_cast<ssize_t>(sizeof what))
            ::_exit(3);
    }

    void step(std::string_view what) {
        if (what == "reopen") {
            close();
            open();
        } else if (what == "allocate" || what == "grow") {
            if (live_.size() >= regions_max_)
                free();
            allocate();
        } else if (what == "free") {
            free();
            if (live_.size() < 3)
                allocate();
        } else if (what == "clear") {
            clear(random_() % live_.size());
        } else if (what == "reserve") {
            reserve(1 + random_() % 4);
        } else if (what == "batch") {
            append(2 + random_() % 5);
        } else if (what == "persist") {
            append(1);
            persist();
        } else {
            const auto chance = random_() % 100;
            if (chance < 12)
                append(2 + random_() % 4);
            else if (chance < 22)
                reserve(1 + random_() % 3);
            else if (chance < 28)
                persist();
            else
                append(1);
        }
    }

    void persist() {
        tell({report_kind::about_to_persist});
        const auto upto = writer_->committed();
        if (!must(writer_->wait_persisted(upto)) || writer_->persisted() < upto)
            give_up("what was waited for is not persisted");
        tell({report_kind::persisted, 0, 0, to_uint(upto)});
    }

    live_region& any() { return live_[random_() % live_.size()]; }

    /// One entry, or several as a batch.
    void append(std::uint64_t count) {
        count = std::min(count, end_ - number_);
        if (count == 0)
            return;
        auto& to = any();
        std::vector<std::vector<std::byte>> payloads;
        for (std::uint64_t i = 0; i < count; ++i)
            payloads.push_back(kill_payload(seed_, number_ + i));
        make_room(to, payloads);
        tell({report_kind::about_to_append, to.name, number_, count});
        const std::vector<std::span<const std::byte>> batch(payloads.begin(), payloads.end());
        const auto last =
            count == 1 ? must(writer_->append(to.handle, batch[0])) : must(writer_->append_batch(to.handle, batch));
        tell({report_kind::appended, to.name, number_, count, to_uint(last)});
        number_ += count;
    }

    /// Several reservations, written in place and published the last one first, so that one store commits all. Fillers
    /// between them.
    void reserve(std::uint64_t count) {
        count = std::min(count, end_ - number_);
        if (count == 0)
            return;
        auto& to = any();
        std::vector<std::vector<std::byte>> payloads;
        for (std::uint64_t i = 0; i < count; ++i)
            payloads.push_back(kill_payload(seed_, number_ + i));
        payloads.emplace_back(std::size_t{random_() % 60}, std::byte{0xee});
        make_room(to, payloads);
        tell({report_kind::about_to_append, to.name, number_, count});
        std::vector<reservation> open;
        const std::size_t filler = random_() % (count + 1);
        std::optional<reservation> abandoned;
        for (std::size_t i = 0; i <= count; ++i) {
            if (i == filler)
                abandoned = must(writer_->reserve(to.handle, payloads.back().size()));
            if (i == count)
                break;
            open.push_back(must(writer_->reserve(to.handle, payloads[i].size())));
            const std::size_t half = payloads[i].size() / 2;
            std::copy_n(payloads[i].begin(), half, open.back().payload().begin());
            die_in_reservation();
            std::copy(payloads[i].begin() + static_cast<std::ptrdiff_t>(half), payloads[i].end(),
                      open.back().payload().begin() + static_cast<std::ptrdiff_t>(half));
        }
        sequence last{};
        // The first entry comes last: it completes the prefix. A filler in front of it goes before.
        must(writer_->abandon(std::move(*abandoned)));
        for (std::size_t i = open.size(); i-- > 0;) {
            last = must(writer_->publish(std::move(open[i])));
            if (i > 0)
                die_in_reservation();
        }
        tell({report_kind::appended, to.name, number_, count, to_uint(last)});
        number_ += count;
    }

    /// KILL_WRITER_RESERVATION=N: dies at the N-th moment between reserve and the publishing that commits.
    void die_in_reservation() {
        static const char* const text = std::getenv("KILL_WRITER_RESERVATION");
        static unsigned long left = text == nullptr ? 0 : std::strtoul(text, nullptr, 10);
        if (left > 0 && --left == 0)
            std::raise(SIGKILL);
    }

    void make_room(live_region& to, const std::vector<std::vector<std::byte>>& payloads) {
        std::uint64_t bytes = 0;
        for (const auto& p : payloads)
            bytes += 16 + (p.size() + 7) / 8 * 8;
        if (must(writer_->describe(to.handle)).free_bytes() < bytes)
            clear(static_cast<std::size_t>(&to - live_.data()));
    }

    void allocate() {
        // Names are used again, those of freed regions too.
        std::uint32_t name = static_cast<std::uint32_t>(random_() % 200);
        while (writer_->find(kill_region_name(name)))
            name = (name + 1) % 200;
        tell({report_kind::about_to_allocate, name});
        const std::uint64_t bytes = regions_max_ > 8 ? 30'000 + random_() % 2'000 : 30'000 + random_() % 40'000;
        const region made = must(writer_->allocate(bytes, kill_region_name(name)));
        tell({report_kind::allocated, name, 0, made.generation()});
        live_.push_back({name, made});
    }

    void free() {
        const auto which = random_() % live_.size();
        const auto gone = live_[which];
        tell({report_kind::about_to_free, gone.name});
        must(writer_->free(gone.handle));
        tell({report_kind::freed, gone.name});
        live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(which));
    }

    void clear(std::size_t which) {
        auto& emptied = live_[which];
        tell({report_kind::about_to_clear, emptied.name});
        emptied.handle = must(writer_->clear(emptied.handle));
        tell({report_kind::cleared, emptied.name, 0, emptied.handle.generation()});
    }

    std::string file_;
    std::mt19937_64 random_;
    std::uint64_t seed_;
    std::uint64_t number_;
    std::uint64_t end_ = 0;
    std::size_t regions_max_ = 8;
    int pipe_;
    std::unique_ptr<writer> writer_;
    std::vector<live_region> live_;
};

int run(const std::vector<std::string>& words) {
    const auto number = [&](std::size_t i) { return std::stoull(words.at(i)); };
    if (words.at(0) == "open") {
        const auto opened = writer::open(words.at(1), {.control_mode = {}, .without_control = true});
        if (!opened)
            std::fprintf(stderr, "%s\n", opened.error().message().c_str());
        return opened ? 0 : 1;
    }
    kill_writer self(words.at(1), static_cast<int>(number(2)), number(3), number(4));
    if (words.at(0) == "write") {
        self.write(number(5), words.at(6));
        self.close();
    } else {
        self.look();
        self.open();
        self.look();
        self.go_on(words.at(5) == "close");
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    int code = 2;
    try {
        code = run({argv + 1, argv + argc});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "kill_writer: %s\n", e.what());
    }
    // Without the destructors of a process that ends well: nothing of it is needed.
    std::_Exit(code);
}
