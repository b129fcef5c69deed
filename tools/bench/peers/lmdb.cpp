// LMDB, a transaction per entry, keys that only grow (MDB_APPEND), through a writable map: its fastest way to append.
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/streams.hpp"

#include <lmdb.h>
#include <string>

namespace bench {

namespace {

void check(int code, const char* doing) {
    if (code != MDB_SUCCESS)
        throw std::runtime_error(std::string("LMDB: ") + doing + ": " + ::mdb_strerror(code));
}

class lmdb : public peer {
public:
    lmdb(const std::string& folder, unsigned flags) : folder_(folder) {
        check(::mdb_env_create(&env_), "mdb_env_create");
        check(::mdb_env_set_mapsize(env_, std::size_t{1} << 30), "mdb_env_set_mapsize");
        check(::mdb_env_open(env_, folder.c_str(), flags, 0600), "mdb_env_open");
        in_transaction(
            [this](MDB_txn* txn) { check(::mdb_dbi_open(txn, nullptr, MDB_INTEGERKEY, &entries_), "mdb_dbi_open"); });
    }
    ~lmdb() override { ::mdb_env_close(env_); }
    lmdb(const lmdb&) = delete;
    lmdb& operator=(const lmdb&) = delete;

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        in_transaction([this](MDB_txn* txn) { check(::mdb_drop(txn, entries_, 0), "mdb_drop"); });
        const auto begin = clock::now();
        for (std::size_t i = 0; i < count; ++i)
            in_transaction([&](MDB_txn* txn) {
                MDB_val key{sizeof i, &i};
                MDB_val value{payload.size(), const_cast<std::byte*>(payload.data())};
                check(::mdb_put(txn, entries_, &key, &value, MDB_APPEND), "mdb_put");
            });
        return ns_since(begin) / static_cast<double>(count);
    }

private:
    template <class Body>
    void in_transaction(Body body) {
        MDB_txn* txn = nullptr;
        check(::mdb_txn_begin(env_, nullptr, 0, &txn), "mdb_txn_begin");
        try {
            body(txn);
        } catch (...) {
            ::mdb_txn_abort(txn);
            throw;
        }
        check(::mdb_txn_commit(txn), "mdb_txn_commit");
    }

    scratch_folder folder_;
    MDB_env* env_ = nullptr;
    MDB_dbi entries_ = 0;
};

}  // namespace

std::unique_ptr<peer> make_lmdb(const settings& how) {
    return std::make_unique<lmdb>(how.file.string() + ".lmdb", MDB_NOSYNC | MDB_WRITEMAP);
}

std::unique_ptr<peer> make_lmdb_synced(const settings& how) {
    return std::make_unique<lmdb>(how.disk_file.string() + ".lmdb", 0);
}

}  // namespace bench
