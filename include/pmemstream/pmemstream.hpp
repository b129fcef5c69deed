#pragma once

#include <pmemstream/cursor.hpp>
#include <pmemstream/fault_guard.hpp>
#include <pmemstream/reader.hpp>
#include <pmemstream/result.hpp>
#include <pmemstream/stream.hpp>
#include <pmemstream/types.hpp>
#include <pmemstream/version.hpp>
#include <pmemstream/writer.hpp>
