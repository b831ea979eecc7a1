// Judge: what a model would have said is judged by the probabilities of its tokens, without a token
// being generated. Pure: whoever can ask the model judges prompts.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/assist/prompt_format.h"
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

/// Of `tokens` behind `prompt`: about those from `first` on.
JudgedPrompt make_judged_prompt(std::span<const tokenizer::TokenId> prompt,
                                std::span<const tokenizer::TokenId> tokens,
                                std::size_t first);

/// Judges prompts by requests for them, all at once.
///   submit   hands a request to the engine
///   until    what is not told by then was not judged
using Submit = std::function<Result<engine::Ticket>(engine::Request)>;
std::vector<LogProbabilities> judge_by_requests(std::vector<JudgedPrompt> prompts,
                                                engine::Priority priority,
                                                const Submit& submit,
                                                TimePoint until);

}  // namespace hearth::assist
