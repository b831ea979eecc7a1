// Which line is shown: the model's, a copy, or none. Each gets the probability that it is the line
// that will be written, from what is known about it; the likeliest is shown if it is likely enough.
// The constants in suggestion_choice.cpp were fitted by training/evaluation/calibrate.py.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/assist/copy_candidate.h"
#include "core/assist/suggestion_checks.h"
#include "core/assist/text_gate.h"

namespace hearth::assist {

/// From this probability on a copy is shown before the model is asked.
inline constexpr double kCertainCopy = 0.8;

/// A copy as it would be shown at its place, and what is wrong with it there.
struct CopyOffer {
    std::string text;
    CopyCandidate evidence;
    Fault fault = Fault::none;
};

enum class Source : std::uint8_t { none, model, copy, both };

/// "none", "model", "copy", "both".
std::string_view to_string(Source source);

struct Choice {
    Source source = Source::none;
    double probability = 0.0;  ///< of the best there was, shown or not
    std::string text = {};     ///< empty without a source
};

double copy_probability(const CopyCandidate& copy);
/// `tokens` are those of one line. More of them never make it more likely.
double model_probability(const Evidence& tokens);
/// Of a line that both suggest: that not both are wrong by chance.
double agreed_probability(double copy, double model);

/// How unlikely a line may be and still be looked at, where it may turn out to be the likeliest.
struct Chances {
    double of_best = 1.0;   ///< so many times as likely as the best line there is
    double of_shown = 1.0;  ///< and as what is shown has to be
};

/// What the model says for one line; empty text where it says nothing sound.
struct ModelLine {
    std::string_view text;
    Evidence tokens;
    bool is_said = true;  ///< false: it was asked about a copy
};

/// The likeliest of the model's lines (all different) and the copies without fault; none below
/// `probability_min`.
Choice choose(std::span<const ModelLine> lines,
              std::span<const CopyOffer> copies,
              double probability_min);

}  // namespace hearth::assist
