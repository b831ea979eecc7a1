#include "core/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace hearth {

void assert_failed(const char* condition, const char* file, int line) noexcept {
    std::fprintf(stderr, "hearth: broken assumption: %s (%s:%d)\n", condition, file, line);
    std::abort();
}

}  // namespace hearth
