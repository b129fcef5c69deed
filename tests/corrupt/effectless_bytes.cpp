#include "tests/corrupt/effectless_bytes.hpp"

#include <fstream>
#include <limits>
#include <stdexcept>

namespace pmemstream::test {

namespace {

/// Cells of a markdown row, trimmed.
std::vector<std::string> cells_of(const std::string& line) {
    std::vector<std::string> cells;
    std::size_t begin = 1;
    for (std::size_t bar = line.find('|', begin); bar != std::string::npos; bar = line.find('|', begin)) {
        std::string cell = line.substr(begin, bar - begin);
        cell.erase(0, cell.find_first_not_of(' ') == std::string::npos ? cell.size() : cell.find_first_not_of(' '));
        cell.erase(cell.find_last_not_of(' ') + 1);
        cells.push_back(std::move(cell));
        begin = bar + 1;
    }
    return cells;
}

}  // namespace

effectless_bytes::effectless_bytes(const std::string& page) {
    std::ifstream file(page);
    std::string line;
    while (std::getline(file, line) && line != "## Bytes without effect")
        continue;
    while (std::getline(file, line) && line.rfind("## ", 0) != 0) {
        if (line.rfind("| ", 0) != 0 || line.rfind("| struct |", 0) == 0)
            continue;
        const auto cells = cells_of(line);
        if (cells.size() != 4)
            throw std::runtime_error("not four cells: " + line);
        row r{.structure = cells[0]};
        if (cells[2] == "unused")
            r.what = kind::unused;
        else if (cells[2] == "advisory")
            r.what = kind::advisory;
        else
            throw std::runtime_error("neither unused nor advisory: " + line);
        if (cells[1] == "all") {
            r.last = std::numeric_limits<std::uint64_t>::max();
        } else {
            static const std::string dash = "–";
            const std::size_t middle = cells[1].find(dash);
            if (middle == std::string::npos)
                throw std::runtime_error("not a range of bytes: " + line);
            r.first = std::stoull(cells[1].substr(0, middle));
            r.last = std::stoull(cells[1].substr(middle + dash.size()));
        }
        rows_.push_back(std::move(r));
    }
    if (rows_.empty())
        throw std::runtime_error(page + ": no table of bytes without effect");
}

effectless_bytes::kind effectless_bytes::of(std::string_view structure, std::uint64_t byte) const noexcept {
    for (const auto& r : rows_)
        if (r.structure == structure && byte >= r.first && byte <= r.last)
            return r.what;
    return kind::none;
}

}  // namespace pmemstream::test
