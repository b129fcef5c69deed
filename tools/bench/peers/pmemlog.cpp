// libpmemlog, which makes every append durable. Made while cache lines are forced, as our own stream is.
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/streams.hpp"

#include <libpmemlog.h>
#include <algorithm>
#include <cerrno>
#include <system_error>

namespace bench {

namespace {

class pmemlog : public peer {
public:
    pmemlog(std::filesystem::path file, std::uint64_t bytes) : file_(std::move(file)) {
        log_ = ::pmemlog_create(file_.c_str(), bytes, 0600);
        if (log_ == nullptr)
            throw std::system_error(errno, std::generic_category(), "pmemlog_create: " + file_.string());
    }
    ~pmemlog() override {
        ::pmemlog_close(log_);
        std::error_code ignored;
        std::filesystem::remove(file_, ignored);
    }
    pmemlog(const pmemlog&) = delete;
    pmemlog& operator=(const pmemlog&) = delete;

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        ::pmemlog_rewind(log_);
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < count; ++i)
            if (::pmemlog_append(log_, payload.data(), payload.size()) != 0)
                throw std::system_error(errno, std::generic_category(), "pmemlog_append");
        return ns_since(begin) / static_cast<double>(count);
    }

private:
    std::filesystem::path file_;
    PMEMlogpool* log_ = nullptr;
};

}  // namespace

std::unique_ptr<peer> make_pmemlog(const settings& how) {
    // Its own header beside what entries need.
    const auto bytes = how.bytes(std::uint64_t{32} << 20, 2) + PMEMLOG_MIN_POOL;
    return std::make_unique<pmemlog>(how.file.string() + ".pmemlog", bytes);
}

}  // namespace bench
