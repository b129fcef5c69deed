#pragma once

#include "ipc/reader_control.hpp"
#include "src/base/mapped.hpp"
#include "src/format/layout.hpp"

#include <cstdint>
#include <memory>

namespace pmemstream::core {

/// A cursor's slot in the control file, if it wants one: taken when there is such a file, and again when it was made
/// anew.
class registration {
public:
    registration(bool wanted, horizon horizon, ipc::reader_control& control,
                 const format::shared_header& header) noexcept
        : wanted_(wanted), horizon_(horizon), control_(&control), nonce_now_(&header.identity.control_nonce) {}

    /// A writer made a control file since the last renew(). Costs a look at a line that changes when one does.
    [[nodiscard]] bool due() const noexcept { return wanted_ && base::load_relaxed(*nonce_now_) != nonce_; }

    /// Where the cursor is: see reader_control::lease().
    void renew(std::uint32_t region_index, std::uint64_t generation, std::uint64_t position) {
        if (!wanted_)
            return;
        nonce_ = base::load_relaxed(*nonce_now_);
        auto file = control_->current();
        if (file == asked_)
            return;
        asked_ = std::move(file);
        lease_ = control_->lease(region_index, generation, position, horizon_);
    }

    [[nodiscard]] ipc::slot_lease& lease() noexcept { return lease_; }
    [[nodiscard]] bool held() const noexcept { return lease_.held(); }

private:
    bool wanted_;
    horizon horizon_;
    ipc::reader_control* control_;
    const std::uint64_t* nonce_now_;
    std::uint64_t nonce_ = 0;                   // of the file that was there at the last renew()
    std::shared_ptr<ipc::control_file> asked_;  // for a lease, last
    ipc::slot_lease lease_;
};

}  // namespace pmemstream::core
