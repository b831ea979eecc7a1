// How evaluate.py and hearth-evaluate talk. A case is a line with the byte counts of its parts,
// then the parts; an answer is a line of words, of which the last count the bytes of its texts,
// then the texts. Each answer is written as soon as it is known.
#pragma once

#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace hearth::evaluation {

using CaseParts = std::vector<std::string>;

/// The next case, of at least `parts_min` parts; nothing at the end of the input.
///
/// Errors: corrupt (a case that is cut, too large or has fewer parts).
Result<std::optional<CaseParts>> read_case(std::istream& stream, std::size_t parts_min);

void write_answer(std::ostream& stream,
                  std::string words,
                  const std::vector<std::string_view>& texts);

}  // namespace hearth::evaluation
