#include "tools/bench/peers/peer.hpp"

#include <array>

#if defined(PMEMSTREAM_BENCH_LMDB)
#define IF_LMDB(make) make
#else
#define IF_LMDB(make) nullptr
#endif
#if defined(PMEMSTREAM_BENCH_ROCKSDB)
#define IF_ROCKSDB(make) make
#else
#define IF_ROCKSDB(make) nullptr
#endif
#if defined(PMEMSTREAM_BENCH_PMEMLOG)
#define IF_PMEMLOG(make) make
#else
#define IF_PMEMLOG(make) nullptr
#endif
#if defined(PMEMSTREAM_BENCH_REDIS)
#define IF_REDIS(make) make
#else
#define IF_REDIS(make) nullptr
#endif
#if defined(PMEMSTREAM_BENCH_ZEROMQ)
#define IF_ZEROMQ(make) make
#else
#define IF_ZEROMQ(make) nullptr
#endif
#if defined(PMEMSTREAM_BENCH_ICEORYX)
#define IF_ICEORYX(make) make
#else
#define IF_ICEORYX(make) nullptr
#endif

namespace bench {

std::span<const peer_kind> peer_kinds() {
    // iceoryx first: its processes leave by exit(), where RocksDB, once used, would join threads that they never had.
    static constexpr std::array all{
        peer_kind{"iceoryx, publish/subscribe", guarantee::delivered,
                  "persist, or isolate readers: a slow one stops the publisher or loses samples",
                  "libiceoryx-posh-dev iceoryx", IF_ICEORYX(make_iceoryx)},
        peer_kind{"ZeroMQ, ipc://", guarantee::delivered, "persist, or isolate readers: a slow one stops the sender",
                  "libzmq3-dev", IF_ZEROMQ(make_zeromq)},
        peer_kind{"write(2)", guarantee::committed, "wake readers, or tell them where an entry ends", "none",
                  make_write},
        peer_kind{"LMDB, NOSYNC", guarantee::committed, "wake readers; they write to its lock file", "liblmdb-dev",
                  IF_LMDB(make_lmdb)},
        peer_kind{"RocksDB, no sync", guarantee::committed, "let other processes read while it writes, or wake them",
                  "librocksdb-dev", IF_ROCKSDB(make_rocksdb)},
        peer_kind{"libpmemlog", guarantee::persisted_lines, "let other processes read while it writes, or wake them",
                  "libpmemlog-dev", IF_PMEMLOG(make_pmemlog), 0.5},
        peer_kind{"write + fdatasync", guarantee::persisted_pages, "wake readers, or tell them where an entry ends",
                  "none", make_write_synced},
        peer_kind{"LMDB, sync", guarantee::persisted_pages, "wake readers; they write to its lock file", "liblmdb-dev",
                  IF_LMDB(make_lmdb_synced)},
        peer_kind{"RocksDB, sync", guarantee::persisted_pages, "let other processes read while it writes, or wake them",
                  "librocksdb-dev", IF_ROCKSDB(make_rocksdb_synced)},
        peer_kind{"Redis Streams, AOF always", guarantee::persisted_pages,
                  "isolate readers: they are its server's clients, as writers are", "libhiredis-dev redis-server",
                  IF_REDIS(make_redis)},
    };
    return all;
}

}  // namespace bench
