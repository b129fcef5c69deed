// iceoryx: one process publishes, another subscribes and spins, beside a RouDi of our own. What a sample costs the
// subscriber, from the first to the last. The publisher waits for a full queue: nothing is lost, as with us.
//
// RouDi ends the processes that are registered when it ends, so this one is none of them.
#include "tools/bench/companion.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/peers/server.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include <unistd.h>
#include <cstring>
#include <string>

namespace bench {

namespace {

const iox::capro::ServiceDescription service{"pmemstream-bench", "entries", "all"};

void register_as(const char* role) {
    const std::string name = std::string("pmemstream-bench-") + role + "-" + std::to_string(::getpid());
    iox::core::LogManager::GetLogManager().SetDefaultLogLevel(iox::core::LogLevel::kFatal,
                                                              iox::core::LogLevelOutput::kHideLogLevel);
    iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
}

companion::step publish() {
    register_as("publisher");
    iox::popo::PublisherOptions options;
    options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    const auto out = std::make_shared<iox::popo::UntypedPublisher>(service, options);
    return [out](meeting& shared) {
        const auto payload = payload_of(shared.to[1]);
        while (!out->hasSubscribers())
            ::usleep(1000);
        for (std::uint64_t i = 0; i < shared.to[0];) {
            auto chunk = out->loan(static_cast<std::uint32_t>(payload.size()));
            if (chunk.has_error())
                continue;  // all are in the subscriber's hands for now
            std::memcpy(chunk.value(), payload.data(), payload.size());
            out->publish(chunk.value());
            ++i;
        }
    };
}

companion::step subscribe() {
    register_as("subscriber");
    iox::popo::SubscriberOptions options;
    options.queueCapacity = 256;
    options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    const auto in = std::make_shared<iox::popo::UntypedSubscriber>(service, options);
    return [in](meeting& shared) {
        const auto receive = [&] {
            for (;;) {
                auto got = in->take();
                if (got.has_error())
                    continue;
                const std::uint64_t sum = touch_lines({static_cast<const std::byte*>(got.value()), shared.to[1]});
                in->release(got.value());
                return sum;
            }
        };
        std::uint64_t sum = receive();
        const auto begin = clock::now();
        for (std::uint64_t i = 1; i < shared.to[0]; ++i)
            sum += receive();
        shared.from[0] = static_cast<std::uint64_t>(ns_since(begin));
        keep(sum);
    };
}

class iceoryx : public peer {
public:
    explicit iceoryx(const settings& how)
        : folder_(how.file.string() + ".iceoryx"),
          roudi_({"iox-roudi", "--log-level", "warning"}, folder_.folder() / "log") {
        roudi_.await([this] { return roudi_.printed().find("RouDi is ready") != std::string::npos; });
        subscriber_ = std::make_unique<companion>(how.cpu, subscribe);
        publisher_ = std::make_unique<companion>(how.other_cpu, publish);
    }
    ~iceoryx() override {
        publisher_->dismiss();
        subscriber_->dismiss();
    }
    iceoryx(const iceoryx&) = delete;
    iceoryx& operator=(const iceoryx&) = delete;

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        for (auto* const side : {subscriber_.get(), publisher_.get()}) {
            side->shared().to = {count, payload.size()};
            side->ask();
        }
        subscriber_->await_asleep();
        publisher_->await_asleep();
        return static_cast<double>(subscriber_->shared().from[0]) / static_cast<double>(count - 1);
    }

private:
    scratch_folder folder_;
    server roudi_;
    std::unique_ptr<companion> subscriber_;
    std::unique_ptr<companion> publisher_;
};

}  // namespace

std::unique_ptr<peer> make_iceoryx(const settings& how) {
    return std::make_unique<iceoryx>(how);
}

}  // namespace bench
