#pragma once

#include "tools/common/frames.hpp"
#include "tools/common/output.hpp"
#include "tools/inspect/options.hpp"

#include <cstdint>
#include <pmemstream/reader.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace pmemstream::tools {

/// Shows entries in the format that was asked for.
class entry_printer {
public:
    entry_printer(const reader& from, const inspect_options& options, output& out)
        : from_(from), options_(options), out_(out) {}

    /// What comes before all entries: for frames, what the stream and its regions are like.
    void begin();
    /// False: the entry's region was freed or cleared meanwhile, and nothing was shown.
    [[nodiscard]] bool show(const entry& shown);

    [[nodiscard]] std::uint64_t entries() const noexcept { return entries_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

private:
    /// What the region is called, by people and in frames.
    struct names {
        std::string label;
        std::string in_frames;
        bool unnamed = false;

        [[nodiscard]] frame_region frame() const noexcept { return {in_frames, unnamed}; }
    };

    /// Null if the region is gone.
    [[nodiscard]] const names* names_of(region where);
    void announce(const region_info& info);
    void show_hex(const entry& shown, const std::string& label);
    void show_json(const entry& shown, const std::string& label);

    const reader& from_;
    const inspect_options& options_;
    output& out_;
    std::unordered_map<std::uint64_t, names> known_;  // by generation
    std::vector<std::byte> payload_;                  // of the entry being shown, copied and then checked
    std::uint64_t entries_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace pmemstream::tools
