# PMEMSTREAM_FAST_BUILD: how the presets for tests save compile time.
#
# Parsing the standard library and fmt takes most of a compilation, so it is done once per set of flags. Optimizing tests
# and tools takes longer than running them; a target that runs long is optimized all the same (pmemstream_optimized). The
# library always is. Users' builds and the release preset use none of this, so a source that forgets an include is noticed
# there: the package tests build the library that way.

# pmemstream_precompiled_headers(NAME OPTIONS... HEADERS HEADER...): headers for targets with these compile options.
function(pmemstream_precompiled_headers name)
  cmake_parse_arguments(with "" "" "OPTIONS;HEADERS;LIBRARIES" ${ARGN})
  add_library(${name} OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled.cpp)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_compile_options(${name} PRIVATE ${with_OPTIONS})
  target_link_libraries(${name} PRIVATE fmt::fmt tl::expected pmemstream_warnings ${with_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${with_HEADERS})
endfunction()

# pmemstream_precompiled(TARGET [OPTIMIZED]): TARGET uses precompiled headers, those of optimized or of other code.
function(pmemstream_precompiled target)
  if(PMEMSTREAM_FAST_BUILD)
    set(headers pmemstream_headers)
    if("${ARGN}" STREQUAL "OPTIMIZED")
      set(headers pmemstream_optimized_headers)
    endif()
    target_precompile_headers(${target} REUSE_FROM ${headers})
  endif()
endfunction()

# pmemstream_optimized(TARGET): TARGET runs so long that optimizing it pays.
function(pmemstream_optimized target)
  if(PMEMSTREAM_FAST_BUILD)
    target_compile_options(${target} PRIVATE ${PMEMSTREAM_OPTIMIZED})
    pmemstream_precompiled(${target} OPTIMIZED)
  endif()
endfunction()

if(NOT PMEMSTREAM_FAST_BUILD)
  return()
endif()

# Checks blow code up so much that -O2 does not pay either.
if(PMEMSTREAM_SANITIZE MATCHES "address")
  set(PMEMSTREAM_OPTIMIZED -O1)
else()
  set(PMEMSTREAM_OPTIMIZED -O2)
endif()

# Precompiled headers serve only code with the same flags: executables get those of libraries.
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
add_compile_options(-fPIC)

set(PMEMSTREAM_COMMON_HEADERS
    <algorithm>
    <array>
    <atomic>
    <chrono>
    <csignal>
    <cstdint>
    <cstring>
    <filesystem>
    <functional>
    <map>
    <memory>
    <mutex>
    <optional>
    <set>
    <span>
    <stdexcept>
    <string>
    <string_view>
    <thread>
    <vector>
    <fmt/format.h>
    <tl/expected.hpp>)
pmemstream_precompiled_headers(pmemstream_optimized_headers OPTIONS ${PMEMSTREAM_OPTIMIZED}
                               HEADERS ${PMEMSTREAM_COMMON_HEADERS})
pmemstream_precompiled_headers(pmemstream_headers OPTIONS -O0 HEADERS ${PMEMSTREAM_COMMON_HEADERS})
