#include "tests/crash/killed_program.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>

namespace pmemstream::test {

killed_program::killed_program(std::vector<std::string> words, const environment& with) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe2");
    read_ = ends[0];
    write_ = ends[1];
    std::replace(words.begin(), words.end(), std::string("{fd}"), std::to_string(write_));
    process_.emplace([&]() -> int {
        // Only the child's copy survives its exec.
        ::fcntl(write_, F_SETFD, 0);
        for (const auto& [name, value] : with)
            ::setenv(name.c_str(), value.c_str(), 1);
        std::string program = KILL_WRITER;
        std::vector<char*> arguments{program.data()};
        for (auto& word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        ::execv(program.c_str(), arguments.data());
        return 98;
    });
    ::close(std::exchange(write_, -1));
}

killed_program::~killed_program() {
    // A process that waits for room in the pipe would wait for ever.
    process_.reset();
    ::close(read_);
}

std::optional<report> killed_program::next() const {
    report got;
    ssize_t bytes;
    while ((bytes = ::read(read_, &got, sizeof got)) < 0 && errno == EINTR)
        ;
    return bytes == static_cast<ssize_t>(sizeof got) ? std::optional(got) : std::nullopt;
}

void killed_program::kill() {
    process_->kill(SIGKILL);
}

child_exit killed_program::wait() {
    return process_->wait();
}

}  // namespace pmemstream::test
