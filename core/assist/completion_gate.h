// CompletionGate: decides where a suggestion ends, and whether the model's line, a copy or nothing
// is shown. It knows the place of the cursor; it knows no syntax beyond lines, indentation,
// brackets and quotes.
//
// A suggestion ends (the text from there on is never shown)
//   - with the line, where one line was asked for or code stands right of the cursor;
//   - before a blank line, before a line that is less indented than the cursor's block, and after
//     the closing bracket of a block that it opened itself;
//   - before what the document already has: a bracket or quote that is closed right of the cursor,
//     the rest of the line, the next line;
//   - when it repeats itself: the same line for the third time, a short run over and over;
//   - after `lines_max` lines.
// It is not begun where the checks of suggestion_checks.h find a fault in its first line, or where
// the first line is not likely enough (suggestion_choice.h); a later line of that kind ends it. A
// likelier copy takes the place of the model's line.
// What was cut by a limit goes back to the last whole line, or the last whole word of the first.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/assist/suggestion_checks.h"
#include "core/assist/suggestion_choice.h"
#include "core/assist/text_gate.h"

namespace hearth::assist {

struct CompletionGateOptions {
    std::string_view before;       ///< the document's text before the cursor
    std::string_view after;        ///< and after it
    std::string_view healed = {};  ///< the end of `before` that the model's text begins with
    std::string_view language = {};
    std::uint32_t lines_max = 0;             ///< 0: no limit
    std::span<const CopyOffer> copies = {};  ///< best first
    double probability_min = 0.0;            ///< of a line that is shown
    /// The first line is left open where another may become a likelier one.
    bool leaves_open = false;
    Chances chances = {};               ///< of another one
    std::optional<Choice> chosen = {};  ///< the first line is this one, and was chosen already
    bool has_checks = true;             ///< false: what the model says, faults and all
};

/// What became of the first line, for reports.
struct Decision {
    Choice choice;
    std::string model_line = {};  ///< as the model said it up to its end, sound or not
    Evidence model_tokens = {};
    Fault model_fault = Fault::none;
    bool is_open = false;  ///< nothing was released: see line_search.h
};

class CompletionGate final : public TextGate {
  public:
    explicit CompletionGate(const CompletionGateOptions& options);

    void feed_stop(float probability, float rival) override { count(probability, rival); }
    std::string finish(engine::FinishReason reason) override;

    /// Empty until something was released or refused.
    [[nodiscard]] const std::optional<Decision>& decision() const { return decision_; }

  private:
    GateAnswer take(std::string_view text) override;

    enum class Verdict { keep, keep_and_end, drop_and_end };

    [[nodiscard]] bool has_fault(std::string_view line);
    [[nodiscard]] Verdict judge_first_line(std::string_view line);
    [[nodiscard]] Verdict judge_later_line(std::string_view line);
    [[nodiscard]] bool is_repeated(std::string_view line) const;
    [[nodiscard]] bool is_in_document(std::string_view line) const;
    /// Where the first line runs into what stands right of the cursor.
    [[nodiscard]] std::size_t overlap_start(std::string_view line, bool is_whole) const;
    void note_kept(std::string_view line);
    bool end_line(std::size_t end, bool is_last);
    bool end_inside_line();
    void refuse_first(Fault fault, std::string_view line);
    [[nodiscard]] bool is_hopeless() const;
    void decide(std::string_view sound);
    [[nodiscard]] bool is_model_shown() const;
    std::string release(bool is_end);

    // Fixed after construction.
    const std::string before_, after_;  ///< the document around the cursor
    const std::string language_;
    const std::string line_before_;
    const std::string line_after_;  ///< trimmed
    std::string line_below_;        ///< the next that is not blank
    const std::uint32_t lines_max_;
    const std::vector<CopyOffer> copies_;
    const double probability_min_;
    const bool leaves_open_;
    const Chances chances_;
    const std::optional<Choice> chosen_;
    const bool has_checks_;

    std::string healed_;  ///< what is still to come of it
    std::string text_;
    std::size_t line_begin_ = 0;  ///< of the line in progress
    std::size_t sound_ = 0;       ///< what may be released
    std::size_t released_ = 0;
    std::uint32_t line_count_ = 0;  ///< whole lines kept
    std::int32_t base_width_ = 0;   ///< indentation of the cursor's block
    bool has_base_ = false;
    bool is_deeper_ = false;   ///< inside a block that the suggestion opened
    Evidence lines_evidence_;  ///< of the whole lines so far
    Fault model_fault_ = Fault::none;
    std::string refused_line_;
    std::optional<Decision> decision_;
};

/// How the line at the cursor went on elsewhere, each copy as the gate would show it.
std::vector<CopyOffer> find_copy_offers(const CopySource& source,
                                        std::string_view language,
                                        const CancelToken& cancel);

}  // namespace hearth::assist
