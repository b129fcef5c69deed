#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pmemstream::test {

/// The table "Bytes without effect" of docs/format.md.
class effectless_bytes {
public:
    enum class kind : std::uint8_t { none, unused, advisory };

    /// Throws if the page has no such table, or a row that it does not understand.
    explicit effectless_bytes(const std::string& page);

    /// What the page says of a byte of a struct, counted from the struct's begin.
    [[nodiscard]] kind of(std::string_view structure, std::uint64_t byte) const noexcept;
    [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

private:
    struct row {
        std::string structure;
        std::uint64_t first = 0;
        std::uint64_t last = 0;
        kind what = kind::none;
    };
    std::vector<row> rows_;
};

}  // namespace pmemstream::test
