// The block of code around a line, guessed from indentation and closing brackets alone, so that it
// works for any language and for code that does not parse.
#pragma once

#include <cstddef>

#include "plugins/sdk/lines.h"

namespace hearth::explain {

/// Lines first to last-1.
struct Block {
    std::size_t first = 0;
    std::size_t last = 0;
};

/// The largest enclosing block of at most `lines_max` lines that is no whole class or namespace,
/// usually the function; without one, the lines around `line`.
Block enclosing_block(const sdk::Lines& lines, std::size_t line, std::size_t lines_max);

}  // namespace hearth::explain
