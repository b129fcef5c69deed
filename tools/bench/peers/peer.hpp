#pragma once

#include "tools/bench/settings.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>

namespace bench {

/// Somebody else's log or queue, taking the same entries.
class peer {
public:
    virtual ~peer() = default;
    /// Takes `count` entries, one by one, each at the guarantee before the next. ns per entry.
    [[nodiscard]] virtual double take(std::span<const std::byte> payload, std::uint64_t count) = 0;
};

/// What an entry has reached when it was taken. Each is held against what gives the same here.
enum class guarantee : std::uint8_t {
    committed,        ///< other processes can read it, and it survives this one: append
    persisted_lines,  ///< it survives power loss, on persistent memory: append at persisted
    persisted_pages,  ///< the same, on a disk: append and wait for persisted
    delivered,        ///< another process has seen it: stream
};

struct peer_kind {
    const char* name;
    guarantee gives;
    const char* lacks;    ///< of: persist, isolate readers, wake
    const char* package;  ///< Debian's, that the build needs
    /// Null in a build without the package. Throws not_here where something is missing now.
    std::unique_ptr<peer> (*make)(const settings& how);
    double goal_at_64_bytes = 1;  ///< greatest ratio that is fine there; 1 at every other size
};

struct not_here : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[nodiscard]] std::span<const peer_kind> peer_kinds();

// Each in the file of its name.
[[nodiscard]] std::unique_ptr<peer> make_write(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_write_synced(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_lmdb(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_lmdb_synced(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_rocksdb(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_rocksdb_synced(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_pmemlog(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_redis(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_zeromq(const settings& how);
[[nodiscard]] std::unique_ptr<peer> make_iceoryx(const settings& how);

}  // namespace bench
