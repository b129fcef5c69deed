// A file that is written by write(2), with or without fdatasync. Over blocks that were all written before: that is as
// fast as it gets, and what a log that reuses its files does.
#include "tools/bench/measure.hpp"
#include "tools/bench/peers/peer.hpp"
#include "tools/bench/raw_log.hpp"
#include "tools/bench/streams.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace bench {

namespace {

class written_file : public peer {
public:
    written_file(const std::filesystem::path& file, std::uint64_t bytes, bool synced)
        : file_(file, bytes), bytes_(bytes), synced_(synced) {
        overwrite(file);
        fd_ = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd_ < 0)
            throw std::system_error(errno, std::generic_category(), file.string());
    }
    ~written_file() override { ::close(fd_); }
    written_file(const written_file&) = delete;
    written_file& operator=(const written_file&) = delete;

    double take(std::span<const std::byte> payload, std::uint64_t count) override {
        const raw_header header{static_cast<std::uint32_t>(payload.size()), 0, 1};
        std::vector<std::byte> entry(entry_bytes(payload.size()));
        std::memcpy(entry.data(), &header, sizeof header);
        std::memcpy(entry.data() + sizeof header, payload.data(), payload.size());
        const auto begin = clock::now();
        for (std::uint64_t i = 0; i < count; ++i) {
            if (position_ + entry.size() > bytes_) {
                position_ = 0;
                if (::lseek(fd_, 0, SEEK_SET) != 0)
                    throw std::system_error(errno, std::generic_category(), "lseek");
            }
            if (::write(fd_, entry.data(), entry.size()) != static_cast<ssize_t>(entry.size()))
                throw std::system_error(errno, std::generic_category(), "write");
            position_ += entry.size();
            if (synced_ && ::fdatasync(fd_) != 0)
                throw std::system_error(errno, std::generic_category(), "fdatasync");
        }
        return ns_since(begin) / static_cast<double>(count);
    }

private:
    scratch_file file_;
    std::uint64_t bytes_;
    std::uint64_t position_ = 0;
    bool synced_;
    int fd_ = -1;
};

constexpr std::uint64_t file_bytes = std::uint64_t{32} << 20;

}  // namespace

std::unique_ptr<peer> make_write(const settings& how) {
    return std::make_unique<written_file>(how.file.string() + ".write", how.bytes(file_bytes), false);
}

std::unique_ptr<peer> make_write_synced(const settings& how) {
    return std::make_unique<written_file>(how.disk_file.string() + ".write", how.bytes(file_bytes), true);
}

}  // namespace bench
