#pragma once

#include "tools/common/progress.hpp"
#include "tools/write/options.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <pmemstream/writer.hpp>
#include <span>
#include <string>
#include <string_view>

namespace pmemstream::tools {

/// The stream being written: opened or created, its regions found or allocated when they are first asked for. What
/// goes wrong ends the tool; the stream is closed then, with everything that was appended.
class appender {
public:
    explicit appender(const write_options& options) : options_(options) {}

    struct target {
        std::string name;  ///< or label; for messages
        region where;
        std::uint64_t size_bytes = 0;
        bool was_there = false;  ///< before this run
    };

    /// For a stream that has to be created; the command line comes first.
    void suggest_stream(std::uint64_t stream_bytes, std::uint64_t block_bytes);
    void open();
    [[nodiscard]] bool is_open() const noexcept { return writer_ != nullptr; }

    /// `size_hint`: for a region that has to be allocated; the command line comes first.
    [[nodiscard]] target& region_named(std::string_view name, std::optional<std::uint64_t> size_hint = {});
    /// The unnamed region that this run made for that label, made when it is first asked for.
    [[nodiscard]] target& region_labelled(std::string_view label, std::optional<std::uint64_t> size_hint = {});

    /// Waits for its turn if there is a pace. `what`: for messages, such as "line 17".
    void append(target& to, std::span<const std::byte> payload, std::string_view unit, std::uint64_t number);
    /// Ends the tool if an entry of so many bytes cannot be in the region at all.
    void check_size(const target& to, std::uint64_t payload_bytes, std::string_view unit, std::uint64_t number) const;

    [[nodiscard]] std::uint64_t entries() const noexcept { return entries_; }
    /// "1234 entries (5.6 MiB)".
    [[nodiscard]] std::string appended() const;
    void close();

private:
    [[nodiscard]] result<std::unique_ptr<writer>> open_or_create() const;
    [[nodiscard]] target allocate(std::string_view name, std::string_view called,
                                  std::optional<std::uint64_t> size_hint);
    void wait_for_turn();

    write_options options_;
    std::unique_ptr<writer> writer_;
    std::map<std::string, target, std::less<>> targets_;   // by name
    std::map<std::string, target, std::less<>> labelled_;  // by label
    progress progress_;
    std::optional<std::chrono::steady_clock::time_point> turn_;
    std::uint64_t entries_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace pmemstream::tools
