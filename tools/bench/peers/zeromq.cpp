// ZeroMQ over ipc://: another process pushes, this one pulls. What a message costs here, from the first to the last.
#include "tools/bench/companion.hpp"
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/streams.hpp"

#include <zmq.h>
#include <cerrno>
#include <string>

namespace bench {

namespace {

class socket {
public:
    explicit socket(int type) {
        // Its own threads run where there is room, not where this one is pinned: they inherit from whoever makes them.
        unpin();
        context_ = ::zmq_ctx_new();
        socket_ = context_ == nullptr ? nullptr : ::zmq_socket(context_, type);
        check(socket_ != nullptr, "making a socket");
        const int linger = 0;
        ::zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    }
    ~socket() {
        ::zmq_close(socket_);
        ::zmq_ctx_term(context_);
    }
    socket(const socket&) = delete;
    socket& operator=(const socket&) = delete;
    [[nodiscard]] void* get() const noexcept { return socket_; }

    static void check(bool fine, const char* doing) {
        if (!fine)
            throw std::runtime_error(std::string("ZeroMQ: ") + doing + ": " + ::zmq_strerror(::zmq_errno()));
    }

private:
    void* context_ = nullptr;
    void* socket_ = nullptr;
};

companion::step pusher(const std::string& address, int cpu) {
    const auto out = std::make_shared<socket>(ZMQ_PUSH);
    socket::check(::zmq_connect(out->get(), address.c_str()) == 0, "connecting");
    pin(cpu);
    return [out](meeting& shared) {
        const auto payload = payload_of(shared.to[1]);
        for (std::uint64_t i = 0; i < shared.to[0]; ++i)
            socket::check(::zmq_send(out->get(), payload.data(), payload.size(), 0) >= 0, "sending");
    };
}

class zeromq : public peer {
public:
    explicit zeromq(const settings& how)
        : folder_(how.file.string() + ".zeromq"),
          address_("ipc://" + folder_.folder().string() + "/s"),
          sender_(how.other_cpu, [&] { return pusher(address_, how.other_cpu); }),
          in_(ZMQ_PULL) {
        socket::check(::zmq_bind(in_.get(), address_.c_str()) == 0, "binding");
        pin(how.cpu);
    }

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        sender_.shared().to = {count, payload.size()};
        sender_.ask();
        std::uint64_t sum = receive(payload.size());
        const auto begin = clock::now();
        for (std::uint64_t i = 1; i < count; ++i)
            sum += receive(payload.size());
        const double took = ns_since(begin);
        keep(sum);
        sender_.await();
        return took / static_cast<double>(count - 1);
    }

private:
    std::uint64_t receive(std::size_t expected) {
        zmq_msg_t message;
        ::zmq_msg_init(&message);
        socket::check(::zmq_msg_recv(&message, in_.get(), 0) >= 0, "receiving");
        const auto bytes = ::zmq_msg_size(&message);
        const std::uint64_t first = *static_cast<const unsigned char*>(::zmq_msg_data(&message));
        ::zmq_msg_close(&message);
        if (bytes != expected)
            throw std::runtime_error("ZeroMQ: a message of another size");
        return first;
    }

    scratch_folder folder_;
    std::string address_;
    companion sender_;
    socket in_;
};

}  // namespace

std::unique_ptr<peer> make_zeromq(const settings& how) {
    return std::make_unique<zeromq>(how);
}

}  // namespace bench
