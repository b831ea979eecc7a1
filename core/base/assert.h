// HEARTH_ASSERT: for mistakes of ours, on in every build. What the world can do wrong is a Result.
#pragma once

namespace hearth {

/// Prints the broken condition with its place on stderr and aborts.
[[noreturn]] void assert_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace hearth

#define HEARTH_ASSERT(condition) \
    ((condition) ? static_cast<void>(0) : ::hearth::assert_failed(#condition, __FILE__, __LINE__))
