// CompletionGate: decides where a suggestion ends and whether it is worth showing. It knows the
// place of the cursor; it knows no syntax beyond lines, indentation, brackets and quotes.
//
// A suggestion ends (the text from there on is never shown)
//   - with the line, where one line was asked for or code stands right of the cursor;
//   - before a blank line, before a line that is less indented than the cursor's block, and after
//     the closing bracket of a block that it opened itself;
//   - before what the document already has: a bracket or quote that is closed right of the cursor,
//     the rest of the line, the next line;
//   - when it repeats itself: the same line for the third time, a short run over and over;
//   - after `lines_max` lines.
// What was cut by a limit goes back to the last whole line, or the last whole word of the first.
#pragma once

#include <string>
#include <string_view>

#include "core/assist/text_gate.h"

namespace hearth::assist {

struct CompletionGateOptions {
    std::string_view before;      ///< the document's text before the cursor
    std::string_view after;       ///< and after it
    std::uint32_t lines_max = 0;  ///< 0: no limit
    /// Suggestions whose tokens are less likely than this on (geometric) average are dropped.
    float confidence_min = 0.0F;
};

class CompletionGate final : public TextGate {
  public:
    explicit CompletionGate(const CompletionGateOptions& options);

    std::string finish(engine::FinishReason reason) override;

  private:
    GateAnswer take(std::string_view text) override;

    enum class Verdict { keep, keep_and_end, drop_and_end };

    [[nodiscard]] Verdict judge_first_line(std::string_view line) const;
    [[nodiscard]] Verdict judge_later_line(std::string_view line) const;
    [[nodiscard]] bool is_repeated(std::string_view line) const;
    [[nodiscard]] bool is_in_document(std::string_view line) const;
    /// Where the first line runs into what stands right of the cursor.
    [[nodiscard]] std::size_t overlap_start(std::string_view line, bool is_whole) const;
    void note_kept(std::string_view line);
    bool end_line(std::size_t end, bool is_last);
    bool end_inside_line();
    std::string release();

    // Fixed after construction.
    const std::string line_before_;
    const std::string line_after_;  ///< trimmed
    std::string line_below_;        ///< the next that is not blank
    const std::uint32_t lines_max_;
    const float confidence_min_;

    std::string text_;
    std::size_t line_begin_ = 0;  ///< of the line in progress
    std::size_t sound_ = 0;       ///< what may be released
    std::size_t released_ = 0;
    std::uint32_t line_count_ = 0;  ///< whole lines kept
    std::int32_t base_width_ = 0;   ///< indentation of the cursor's block
    bool has_base_ = false;
    bool is_deeper_ = false;  ///< inside a block that the suggestion opened
    bool is_refused_ = false;
};

}  // namespace hearth::assist
