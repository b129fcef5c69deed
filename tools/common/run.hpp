#pragma once

#include <fmt/format.h>
#include <functional>
#include <string_view>
#include <utility>

namespace pmemstream::tools {

/// The frame of every tool's main(): makes the standard streams and the fault guard ready, runs `body`, and turns what
/// it throws into a message and an exit status. A reader of standard output that went away is no failure.
int run_tool(std::string_view name, const std::function<int()>& body);

/// A line on standard error, with the tool's name before it.
void print_note(std::string_view text);
template <class... Args>
void note(fmt::format_string<Args...> text, Args&&... args) {
    print_note(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace pmemstream::tools
