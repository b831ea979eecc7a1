// Framed lines: lines that stand elsewhere, in the same document or in an open one, above the line
// that stands below the cursor. What was written around them is what stands around the cursor, and
// a model that goes on as text does makes little of what stands below. Pure functions over text.
#pragma once

#include <vector>

#include "core/assist/copy_candidate.h"

namespace hearth::assist {

/// Best first: the most lines alike around them, then the most places that agree, then the nearest
/// text. `frame` is set, and no match. Empty where code stands right of the cursor, nothing below,
/// or when cancelled.
std::vector<CopyCandidate> find_framed_lines(const CopySource& source,
                                             const CopyLimits& limits,
                                             const CancelToken& cancel);

}  // namespace hearth::assist
