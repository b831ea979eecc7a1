// LineJudge: which of several lines stands at a cursor is told by the lines that follow. A small
// model that is asked for a line makes little of what stands below it, though that is in its
// prompt; asked how probable what stands below is behind each line, it tells them apart (Bayes'
// rule). Pure: whoever can ask the model judges prompts.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/assist/judge.h"
#include "core/assist/suggestion_choice.h"
#include "core/assist/verdict_memory.h"

namespace hearth::assist {

/// Lines that are judged at a cursor.
inline constexpr std::size_t kLinesJudgedMax = 16;
/// Of lines that are judged. What is a long way from being shown is seldom lifted so far.
inline constexpr Chances kJudgedChances = {.of_best = 0.1, .of_shown = 0.4};

/// Whoever writes a line may write more before what stands below, which then says nothing of the
/// line: it fits as well as with this share of the best fit among the lines (docs/adr/0014).
inline constexpr double kFitAnyway = 0.1;

/// From the end of the cursor's line to the end of the third line below that is not blank; empty
/// where code stands right of the cursor, or nothing below.
std::string_view next_lines(std::string_view after);

/// What a model says of a line, in natural logarithms.
struct LineVerdict {
    /// Of its tokens, those of the healed text among them, and of its end, with blank lines where
    /// one token is both; nothing where it was not asked for.
    std::optional<double> line;
    double next = 0.0;  ///< of the tokens of what follows
};

struct AskedLine {
    std::string text;
    bool is_said = false;  ///< how probable the line is itself is known
};

/// In the order of the lines; nothing for those that were not judged.
using LineVerdicts = std::vector<std::optional<LineVerdict>>;

struct JudgedPlace {
    std::span<const tokenizer::TokenId> prompt;  ///< up to the cursor, without the healed text
    std::string_view healed;                     ///< see TokenHealing
    std::string_view next;                       ///< what follows each line (next_lines), with \n
    std::string_view head = {};                  ///< of the cursor's line, up to the cursor
};

/// Of the first kLinesJudgedMax lines. Where a line was not said, the first one is asked about
/// itself too: what the healed text costs is told by it. With a memory nothing is asked again while
/// somebody types along a line.
///
/// Errors: those of Tokenizer::encode.
Result<LineVerdicts> judge_lines(const JudgedPlace& place,
                                 std::span<const AskedLine> lines,
                                 const tokenizer::Tokenizer& tokenizer,
                                 const Judge& judge,
                                 VerdictMemory* memory = nullptr);

struct WeighedLine {
    std::optional<double> said;  ///< log probability, where the model said it
    std::optional<LineVerdict> verdict;
};

/// The logarithms of how probable each line is, knowing what follows. Lines that nobody has thought
/// of keep their share. Without any verdict: what was said.
std::vector<double> weigh_lines(std::span<const WeighedLine> lines);

}  // namespace hearth::assist
