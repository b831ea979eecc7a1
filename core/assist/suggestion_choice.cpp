#include "core/assist/suggestion_choice.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

// The weights of three logistic regressions, printed by training/evaluation/calibrate.py.
struct CopyWeights {
    double base = -1.90;
    double match = 0.33;         // per doubling of the match's length
    double agreeing = 0.66;      // per doubling of the places that agree
    double disagreeing = -0.40;  // per doubling of one more than those that do not
    double unanimous = 1.08;     // where none disagrees
    double line_below = 1.48;    // where the line below is the same
    double length = -0.41;       // per doubling of one more than the text's length
};
struct FrameWeights {
    double base = -2.32;
    double lines = 0.90;         // per doubling of the lines that are alike
    double agreeing = 0.60;      // per doubling of the places that agree
    double disagreeing = -0.50;  // per doubling of one more than those that do not
    double unanimous = 1.17;     // where none disagrees
    double length = -0.11;       // per doubling of one more than the text's length
};
// A model's line is likelier than the product of its tokens says: others would be right as well.
struct ModelWeights {
    double base = 0.48;
    double log_odds = 1.05;  // per unit of what the model says itself
};
constexpr CopyWeights kCopy;
constexpr FrameWeights kFrame;
constexpr ModelWeights kModel;
constexpr double kProbabilityMax = 1.0 - 1e-6;

double to_probability(double logit) {
    return 1.0 / (1.0 + std::exp(-logit));
}

double doublings(auto count) {
    return std::log2(static_cast<double>(count));
}

double copy_logit(const CopyCandidate& copy) {
    return kCopy.base + kCopy.match * doublings(copy.match_characters) +
           kCopy.agreeing * doublings(copy.agreeing) +
           kCopy.disagreeing * doublings(1 + copy.disagreeing) +
           (copy.disagreeing == 0 ? kCopy.unanimous : 0.0) +
           (copy.fits_line_below ? kCopy.line_below : 0.0) +
           kCopy.length * doublings(1 + copy.text.size());
}

double frame_logit(const LineFrame& frame, std::size_t bytes) {
    return kFrame.base + kFrame.lines * doublings(frame.lines) +
           kFrame.agreeing * doublings(frame.agreeing) +
           kFrame.disagreeing * doublings(1 + frame.disagreeing) +
           (frame.disagreeing == 0 ? kFrame.unanimous : 0.0) + kFrame.length * doublings(1 + bytes);
}

}  // namespace

std::string_view to_string(Source source) {
    static constexpr std::array<std::string_view, 4> kNames = {"none", "model", "copy", "both"};
    return kNames[static_cast<std::size_t>(source)];
}

double copy_probability(const CopyCandidate& copy) {
    const double matched = copy.match_characters > 0 ? to_probability(copy_logit(copy)) : 0.0;
    const double framed =
        copy.frame.lines > 0 ? to_probability(frame_logit(copy.frame, copy.text.size())) : 0.0;
    return std::max(matched, framed);
}

double model_probability(const Evidence& tokens) {
    const double said = std::min(std::exp(tokens.log_probability), kProbabilityMax);
    if (said <= 0.0) return 0.0;
    return to_probability(kModel.base + kModel.log_odds * std::log(said / (1.0 - said)));
}

double agreed_probability(double copy, double model) {
    return 1.0 - (1.0 - copy) * (1.0 - model);
}

Choice choose(std::span<const ModelLine> lines,
              std::span<const CopyOffer> copies,
              double probability_min) {
    Choice best;
    const auto consider = [&](Source source, double probability, std::string_view text) {
        if (best.source != Source::none && probability <= best.probability) return;
        best = {source, probability, std::string(text)};
    };
    for (const CopyOffer& copy : copies) {
        if (copy.fault != Fault::none) continue;
        consider(Source::copy, copy_probability(copy.evidence), copy.text);
    }
    for (const ModelLine& line : lines) {
        if (is_blank(line.text)) continue;
        const double alone = model_probability(line.tokens);
        const auto same = std::ranges::find_if(copies, [&](const CopyOffer& copy) {
            return copy.fault == Fault::none && trim_right(copy.text) == trim_right(line.text);
        });
        if (same == copies.end()) {
            consider(Source::model, alone, line.text);
        } else {
            consider(line.is_said ? Source::both : Source::copy,
                     agreed_probability(copy_probability(same->evidence), alone),
                     same->text);
        }
    }
    if (best.probability < probability_min) best = {Source::none, best.probability};
    return best;
}

}  // namespace hearth::assist
