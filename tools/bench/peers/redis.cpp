// Redis Streams: XADD, one by one, to a server of our own that syncs its append-only file before it answers.
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/peers/server.hpp"
#include "tools/bench/streams.hpp"

#include <hiredis/hiredis.h>
#include <string>

namespace bench {

namespace {

class redis : public peer {
public:
    explicit redis(const std::string& folder)
        : folder_(folder),
          server_({"redis-server", "--port", "0", "--unixsocket", folder + "/socket", "--dir", folder, "--appendonly",
                   "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"},
                  folder + "/log") {
        server_.await([&] {
            connection_ = ::redisConnectUnix((folder + "/socket").c_str());
            if (connection_ != nullptr && connection_->err == 0 && answers())
                return true;
            ::redisFree(connection_);
            connection_ = nullptr;
            return false;
        });
    }
    ~redis() override { ::redisFree(connection_); }
    redis(const redis&) = delete;
    redis& operator=(const redis&) = delete;

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        const char* const words[] = {"XADD", "log", "*", "d", reinterpret_cast<const char*>(payload.data())};
        const std::size_t sizes[] = {4, 3, 1, 1, payload.size()};
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < count; ++i) {
            auto* const reply =
                static_cast<redisReply*>(::redisCommandArgv(connection_, 5, const_cast<const char**>(words), sizes));
            const bool added = reply != nullptr && reply->type == REDIS_REPLY_STRING;
            const std::string why = reply == nullptr                   ? connection_->errstr
                                    : reply->type == REDIS_REPLY_ERROR ? reply->str
                                                                       : "an answer of another kind";
            ::freeReplyObject(reply);
            if (!added)
                throw std::runtime_error("Redis: XADD: " + why);
        }
        return ns_since(begin) / static_cast<double>(count);
    }

private:
    [[nodiscard]] bool answers() const {
        auto* const reply = static_cast<redisReply*>(::redisCommand(connection_, "PING"));
        const bool yes = reply != nullptr && reply->type == REDIS_REPLY_STATUS;
        ::freeReplyObject(reply);
        return yes;
    }

    scratch_folder folder_;
    server server_;
    redisContext* connection_ = nullptr;
};

}  // namespace

std::unique_ptr<peer> make_redis(const settings& how) {
    return std::make_unique<redis>(how.disk_file.string() + ".redis");
}

}  // namespace bench
