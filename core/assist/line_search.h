// LineSearch: the likeliest line, not the likeliest token time after time. What a model says
// greedily is often not the line that it finds likeliest: the first token may be common to many
// lines, each of them unlikely. So the likeliest other beginnings are gone on with, best first,
// until none can still become a likelier line than the best there is: a text is never likelier than
// its beginning. Pure: whoever asks the model is given beginnings and brings back what was said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/assist/completion_gate.h"
#include "core/assist/line_judge.h"
#include "core/engine/request.h"

namespace hearth::assist {

struct LineSearchLimits {
    std::size_t beginnings_max = 16;  ///< gone on with
    std::size_t at_once_max = 4;      ///< of them, side by side
    std::size_t open_max = 32;        ///< kept for later, the likeliest
    Chances chances = {};             ///< of what a beginning may become
};

/// A line that is said, or begun.
struct SaidLine {
    /// The model's tokens from the end of the prompt on; of an ended line its stop token, if it had
    /// one, is the last.
    std::vector<engine::TokenEvent> tokens;
    std::size_t known_count = 0;  ///< at their front: given, not said
    Decision decision = {};       ///< on the line, once it is said
};

/// Goes on with beginnings, whose tokens are all known. Returns what came of them in any order;
/// none where there is no more time.
using GoOn = std::function<std::vector<SaidLine>(std::vector<SaidLine> beginnings)>;

/// Verdicts on lines (judge_lines); may return none at all.
using JudgeLines = std::function<LineVerdicts(std::span<const AskedLine> lines)>;

struct FoundLine {
    /// The choice among lines and copies. The model's line is the likeliest of those without fault,
    /// with the probability of all the ways that its text was said in, and of what follows it where
    /// that was judged.
    Decision decision;
    /// Of the model's line, where that was chosen.
    std::vector<engine::TokenEvent> tokens = {};
};

/// `first` is what was said greedily, with rivals; `probability_min` as for choose(). Without
/// `judge_lines` what follows the cursor takes no part but in the prompt.
FoundLine search_line(SaidLine first,
                      std::span<const CopyOffer> copies,
                      double probability_min,
                      const LineSearchLimits& limits,
                      const GoOn& go_on,
                      const JudgeLines& judge_lines = nullptr);

}  // namespace hearth::assist
