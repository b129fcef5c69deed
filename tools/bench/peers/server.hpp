#pragma once

#include <sys/types.h>
#include <filesystem>
#include <string>
#include <vector>

namespace bench {

/// A program that a peer needs beside it; ended by its pid when this is destroyed, and when this process dies.
class server {
public:
    /// Standard output and standard error go to `log`. Throws not_here where the program is not installed.
    server(const std::vector<std::string>& command, std::filesystem::path log);
    ~server();
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    /// Waits until `ready()` says so; throws not_here, with what the program printed, if it ends before or takes more
    /// than ten seconds.
    template <class Ready>
    void await(Ready ready) {
        while (!ready())
            wait_a_little();
    }
    [[nodiscard]] std::string printed() const;

private:
    void wait_a_little();

    std::string name_;
    std::filesystem::path log_;
    pid_t pid_ = -1;
    unsigned waited_ms_ = 0;
};

}  // namespace bench
