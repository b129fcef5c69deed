#pragma once

#include "tools/salvage/region_source.hpp"
#include "tools/salvage/report.hpp"
#include "tools/salvage/survey.hpp"

#include <pmemstream/writer.hpp>

#include <filesystem>
#include <memory>
#include <vector>

namespace pmemstream::tools {

/// The new stream. It is made beside its later place and gets its name when all is in it; what is not finished
/// vanishes.
class destination {
public:
    /// With the regions of the survey. Names those of `report`. Ends the tool when something has that name.
    destination(const std::filesystem::path& out, const survey& seen, salvage_report& report);
    ~destination();
    destination(const destination&) = delete;
    destination& operator=(const destination&) = delete;

    /// Copies and appends a unit. False if it does not verify any more.
    [[nodiscard]] bool append(std::size_t region, const media& from, const region_source& source);
    void finish();

private:
    [[nodiscard]] bool append_one(region where, const media& from, const entry_walk::item& item, std::uint32_t seed);
    [[nodiscard]] bool append_batch(region where, const media& from, const std::vector<entry_walk::item>& items,
                                    std::uint32_t seed);
    [[nodiscard]] bool append_large(region where, const media& from, const entry_walk::item& item, std::uint32_t seed);

    std::filesystem::path out_;
    std::filesystem::path temporary_;
    salvage_report& report_;
    std::unique_ptr<writer> to_;
    std::vector<region> regions_;
    std::vector<std::byte> buffer_;
    sequence newest_ = sequence::none;
};

}  // namespace pmemstream::tools
