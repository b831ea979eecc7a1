// Gates between a model's text and the reader: they say which text is sound and when there is
// enough of it. A gate never takes back what it has released. Gates know no tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/request.h"

namespace hearth::assist {

struct GateAnswer {
    std::string text = {};   ///< released with this piece; often empty
    bool is_enough = false;  ///< the answer has found its end; feed no more
};

/// Thread: one at a time. Quick: its work is bounded by the piece and the line it belongs to.
class TextGate {
  public:
    TextGate() = default;
    TextGate(const TextGate&) = delete;
    TextGate& operator=(const TextGate&) = delete;
    virtual ~TextGate() = default;

    /// `text` as the stream decoder gave it, `probability` of its token.
    GateAnswer feed(std::string_view text, float probability);
    /// The rest that is sound, knowing how the answer ended. Once, unless feed() said enough.
    virtual std::string finish(engine::FinishReason reason) = 0;

    /// Geometric mean of the probabilities so far; 0 before the first token.
    [[nodiscard]] float confidence() const;

  protected:
    virtual GateAnswer take(std::string_view text) = 0;

  private:
    double log_probability_ = 0.0;
    std::int32_t token_count_ = 0;
};

/// Finds stop strings in a stream; holds back the longest tail that may still become one.
class StopStrings {
  public:
    explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

    /// The text that is certainly before every stop string; nothing after one was found.
    std::string feed(std::string_view text);
    /// What was held back, when no more will come.
    std::string finish();
    [[nodiscard]] bool is_stopped() const { return is_stopped_; }

  private:
    const std::vector<std::string> stops_;
    std::string held_;
    bool is_stopped_ = false;
};

/// An explanation: leading blank space is dropped, whole sentences and lines are released, so that
/// an answer that was cut by a limit still ends with a sentence.
class ExplainGate final : public TextGate {
  public:
    explicit ExplainGate(std::vector<std::string> stops) : stops_(std::move(stops)) {}

    std::string finish(engine::FinishReason reason) override;

  private:
    GateAnswer take(std::string_view text) override;
    std::string release(std::size_t end);

    StopStrings stops_;
    std::string held_;
    bool is_begun_ = false;
};

/// The corrected text for a marked line: all or nothing, released at the end.
class FixGate final : public TextGate {
  public:
    struct Options {
        std::string marked;           ///< what the answer replaces
        bool may_have_fence = false;  ///< a chat model: code may stand in a fence
        std::vector<std::string> stops;
    };
    explicit FixGate(Options options)
        : stops_(std::move(options.stops)),
          marked_(std::move(options.marked)),
          may_have_fence_(options.may_have_fence) {}

    std::string finish(engine::FinishReason reason) override;

  private:
    GateAnswer take(std::string_view text) override;
    StopStrings stops_;
    const std::string marked_;
    const bool may_have_fence_;
    std::string text_;
};

/// The answer to a fix as it may stand in the document: fence and trailing newlines dropped, the
/// marked text's indentation where the answer has none. Empty when nothing is changed but trailing
/// blank space.
std::string tidy_fix(std::string_view answer, std::string_view marked, bool may_have_fence);

}  // namespace hearth::assist
