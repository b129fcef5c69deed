#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace pmemstream::tools {

/// CLI11's help with a usage line of one's own (it knows nothing of what stands behind "--"), and texts that fit in
/// 80 columns.
class help_formatter : public CLI::Formatter {
public:
    explicit help_formatter(std::string usage) : usage_(std::move(usage)) { column_width(column); }

    std::string make_usage(const CLI::App*, std::string) const override { return {}; }
    std::string make_description(const CLI::App* app) const override {
        const auto* const parent = app->get_parent();
        const std::string usage = parent == nullptr
                                      ? usage_
                                      : "Usage: " + parent->get_name() + " " + app->get_name() + " [OPTIONS] STREAM" +
                                            (app->get_option_no_throw("OUT") == nullptr ? "" : " OUT");
        return usage + "\n\n" + app->get_description() + "\n";
    }
    std::string make_option_opts(const CLI::Option* option) const override {
        return option->get_type_name().empty() ? std::string() : " " + option->get_type_name();
    }
    std::string make_option_desc(const CLI::Option* option) const override {
        return wrapped(option->get_description());
    }

    std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
        std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
        for (std::size_t at = text.find("\n\n\n"); at != std::string::npos; at = text.find("\n\n\n", at))
            text.erase(at, 1);
        return text;
    }
    std::string make_subcommand(const CLI::App* app) const override {
        return "  " + app->get_name() + std::string(column - 2 - app->get_name().size(), ' ') + app->get_description() +
               "\n";
    }

private:
    static constexpr std::size_t column = 26;

    static std::string wrapped(std::string_view text) {
        constexpr std::size_t width = 79 - column;
        std::string lines;
        while (text.size() > width) {
            std::size_t end = text.rfind(' ', width);
            if (end == std::string_view::npos || end == 0)
                break;
            lines.append(text.substr(0, end)).append("\n");
            text.remove_prefix(end + 1);
        }
        return lines.append(text);
    }

    std::string usage_;
};

}  // namespace pmemstream::tools
