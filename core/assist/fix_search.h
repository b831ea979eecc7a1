// FixSearch: the likeliest line instead of a marked one. What a small model says greedily is right
// less often than what it finds likeliest among the lines that are one edit away, and these are few
// enough to be judged: one look at the marked line says how probable each edit's first token is,
// and the likeliest are judged to their ends. Pure: whoever can ask the model judges prompts.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/assist/judge.h"
#include "core/assist/text_gate.h"

namespace hearth::assist {

/// Edits that are judged to their ends.
inline constexpr std::size_t kFixesJudgedMax = 24;

struct FixSearchInput {
    const FixGate::Options& place;               ///< where the line stands; marks one line
    std::span<const tokenizer::TokenId> prompt;  ///< asks for it
    std::string_view said;  ///< the model's own answer, without its end; empty: none
};

struct FoundFix {
    std::string line;          ///< the likeliest change; empty: none was found
    double probability = 0.0;  ///< among all that was judged, the line as it is included
    double probability_if_wrong =
        0.0;  ///< among the changes: where something says that it is wrong
};

/// Nothing where the marked line itself could not be judged, or is more than one.
///
/// Errors: those of Tokenizer::encode.
Result<std::optional<FoundFix>> search_fix(const FixSearchInput& input,
                                           const tokenizer::Tokenizer& tokenizer,
                                           const Judge& judge);

}  // namespace hearth::assist
