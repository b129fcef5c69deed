#pragma once

/// Everything the shared library exports carries this; the rest is hidden.
#define PMEMSTREAM_API __attribute__((visibility("default")))
/// For what is nested in an exported class and is no business of anybody's.
#define PMEMSTREAM_HIDDEN __attribute__((visibility("hidden")))
