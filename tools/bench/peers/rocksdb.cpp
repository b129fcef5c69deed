// RocksDB, a put per entry with a key that only grows; its write-ahead log is on, for else nothing would survive.
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/streams.hpp"

#include <rocksdb/c.h>
#include <cstring>
#include <string>

namespace bench {

namespace {

void check(char* error) {
    if (error == nullptr)
        return;
    const std::string text = error;
    ::rocksdb_free(error);
    throw std::runtime_error("RocksDB: " + text);
}

class rocks : public peer {
public:
    rocks(const std::string& folder, bool synced) : folder_(folder) {
        rocksdb_options_t* const options = ::rocksdb_options_create();
        ::rocksdb_options_set_create_if_missing(options, 1);
        char* error = nullptr;
        db_ = ::rocksdb_open(options, folder.c_str(), &error);
        ::rocksdb_options_destroy(options);
        check(error);
        how_ = ::rocksdb_writeoptions_create();
        ::rocksdb_writeoptions_set_sync(how_, synced ? 1 : 0);
    }
    ~rocks() override {
        ::rocksdb_writeoptions_destroy(how_);
        ::rocksdb_close(db_);
    }
    rocks(const rocks&) = delete;
    rocks& operator=(const rocks&) = delete;

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t big_endian = __builtin_bswap64(++number_);
            char key[sizeof big_endian];
            std::memcpy(key, &big_endian, sizeof key);
            char* error = nullptr;
            ::rocksdb_put(db_, how_, key, sizeof key, reinterpret_cast<const char*>(payload.data()), payload.size(),
                          &error);
            check(error);
        }
        return ns_since(begin) / static_cast<double>(count);
    }

private:
    scratch_folder folder_;
    rocksdb_t* db_ = nullptr;
    rocksdb_writeoptions_t* how_ = nullptr;
    std::uint64_t number_ = 0;
};

}  // namespace

std::unique_ptr<peer> make_rocksdb(const settings& how) {
    return std::make_unique<rocks>(how.file.string() + ".rocksdb", false);
}

std::unique_ptr<peer> make_rocksdb_synced(const settings& how) {
    return std::make_unique<rocks>(how.disk_file.string() + ".rocksdb", true);
}

}  // namespace bench
