// FixSearch: the likeliest line instead of a marked one. What a small model says greedily is right
// less often than what it finds likeliest among the lines that are one edit away, and these are few
// enough to be judged: one look at the marked line says how probable each edit's first token is,
// and the likeliest are judged to their ends. Pure: whoever can ask the model judges prompts.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/assist/prompt_format.h"
#include "core/assist/text_gate.h"
#include "core/engine/request.h"

namespace hearth::assist {

/// A prompt, and what is asked about it (engine::Request::asked).
struct JudgedPrompt {
    Tokens tokens;
    std::vector<engine::Asked> asked;
};
/// The logarithms of the probabilities, for each prompt in order; none where it was not judged: no
/// time, no room.
using LogProbabilities = std::vector<double>;
using Judge = std::function<std::vector<LogProbabilities>(std::vector<JudgedPrompt> prompts)>;

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

/// Judges prompts by requests for them, all at once.
///   submit   hands a request to the engine
///   until    what is not told by then was not judged
using Submit = std::function<Result<engine::Ticket>(engine::Request)>;
std::vector<LogProbabilities> judge_by_requests(std::vector<JudgedPrompt> prompts,
                                                const Submit& submit,
                                                TimePoint until);

}  // namespace hearth::assist
