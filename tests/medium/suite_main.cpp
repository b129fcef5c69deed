// One suite for every medium. Beside the options of doctest:
//
//   --file PATH     a directory to make files in, or a block device of 16 MiB or more, whose content goes (or
//                   $PMEMSTREAM_MEDIUM)
//   --loop          a loop device, made for the run over a file in PATH; takes root
//   --sync NAME     how pages are made durable: automatic, system_calls or io_uring
//   --expect NAME   fail where the granularity is another: page, cache_line or byte
//
// PMEM2_FORCE_GRANULARITY does what it does to every program. Needs nothing but the shared libraries.
#include "tests/medium/loop_device.hpp"
#include "tests/medium/place.hpp"

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace pmemstream;
using pmemstream::test::place;

struct arguments {
    std::filesystem::path path = std::getenv("PMEMSTREAM_MEDIUM") != nullptr ? std::getenv("PMEMSTREAM_MEDIUM") : "";
    bool loop = false;
    std::vector<char*> rest;
};

template <class Value>
Value named(const std::map<std::string, Value>& names, const std::string& option, const std::string& name) {
    const auto found = names.find(name);
    if (found == names.end())
        throw std::invalid_argument(option + " " + name + ": no such thing");
    return found->second;
}

arguments parse(int count, char** words, place& to) {
    arguments all;
    all.rest.push_back(words[0]);
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const auto value = [&]() -> std::string {
            if (++i == count)
                throw std::invalid_argument(word + " takes a value");
            return words[i];
        };
        if (word == "--file")
            all.path = value();
        else if (word == "--loop")
            all.loop = true;
        else if (word == "--sync")
            to.sync_by = named<page_sync>({{"automatic", page_sync::automatic},
                                           {"system_calls", page_sync::system_calls},
                                           {"io_uring", page_sync::io_uring}},
                                          word, value());
        else if (word == "--expect")
            to.expected = named<granularity>(
                {{"page", granularity::page}, {"cache_line", granularity::cache_line}, {"byte", granularity::byte}},
                word, value());
        else
            all.rest.push_back(words[i]);
    }
    return all;
}

int run(int count, char** words) {
    auto& to = place::chosen();
    auto all = parse(count, words, to);
    if (all.path.empty())
        all.path = std::filesystem::temp_directory_path();
    to.path = all.path;
    std::unique_ptr<pmemstream::test::temp_dir> under;
    std::unique_ptr<pmemstream::test::loop_device> device;
    if (all.loop) {
        under = std::make_unique<pmemstream::test::temp_dir>(all.path);
        to.loop_backing = *under / "backing";
        // Larger than what is used of it, as real ones are.
        device = std::make_unique<pmemstream::test::loop_device>(to.loop_backing, 2 * pmemstream::test::room::bytes);
        to.path = device->path();
    }
    to.is_device = std::filesystem::is_block_file(to.path);
    if (!to.is_device && !std::filesystem::is_directory(to.path))
        throw std::invalid_argument(to.path.string() + ": neither a directory nor a block device");
    to.expected_forced = !to.is_device && std::getenv("PMEM2_FORCE_GRANULARITY") != nullptr;
    doctest::Context context(static_cast<int>(all.rest.size()), all.rest.data());
    return context.run();
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(count, words);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "medium_suite: %s\n", e.what());
        return 1;
    }
}
