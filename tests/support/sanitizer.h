// Whether this is the build of a sanitizer: many times slower, and with more memory of its own than
// ours.
#pragma once

namespace hearth::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kIsSanitized = true;
#else
inline constexpr bool kIsSanitized = false;
#endif

}  // namespace hearth::test
