#pragma once

#include <cstddef>
#include <string>

// Where the run stands, on the last line of a terminal; silent anywhere else. One for the process: the measuring loop,
// far below, tells it how far it is.
namespace bench::progress_bar {

/// Of `workloads` to run, those before `done` are through, and `name` begins.
void begin(std::size_t done, std::size_t workloads, std::string name);
/// Of the row that is being measured.
void round(unsigned done, unsigned of);
/// Takes the line away, for other text.
void clear();

}  // namespace bench::progress_bar
