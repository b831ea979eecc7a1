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

/// How many parts a case has.
struct PartCount {
    std::size_t min, max;
};

/// The next case; nothing at the end of the input.
///
/// Errors: corrupt (a case that is cut or too large, or has fewer or more parts).
Result<std::optional<CaseParts>> read_case(std::istream& stream, PartCount count);

void write_answer(std::ostream& stream,
                  std::string words,
                  const std::vector<std::string_view>& texts);

}  // namespace hearth::evaluation
