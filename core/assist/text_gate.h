// Gates between a model's text and the reader: they say which text is sound and when there is
// enough of it. A gate never takes back what it has released. Gates know no tokens.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/assist/suggestion_checks.h"
#include "core/engine/request.h"

namespace hearth::assist {

struct GateAnswer {
    std::string text = {};   ///< released with this piece; often empty
    bool is_enough = false;  ///< the answer has found its end; feed no more
};

/// The tokens of a text, as the model saw them.
struct Evidence {
    double log_probability = 0.0;  ///< of all of them, in a row; natural
    std::int32_t token_count = 0;
    /// Of the likeliest text that begins with some of them and goes on with another token, up to
    /// that token.
    double rival_log_probability = -std::numeric_limits<double>::infinity();

    /// Geometric mean of the probabilities; 0 without a token.
    [[nodiscard]] float confidence() const;
};

/// Thread: one at a time. Quick: its work is bounded by the piece and the line it belongs to.
class TextGate {
  public:
    TextGate() = default;
    TextGate(const TextGate&) = delete;
    TextGate& operator=(const TextGate&) = delete;
    virtual ~TextGate() = default;

    /// `text` as the stream decoder gave it, `probability` of its token, `rival` of the likeliest
    /// other one.
    GateAnswer feed(std::string_view text, float probability, float rival = 0.0F);
    /// The token that ended the answer; finish() follows.
    virtual void feed_stop(float /*probability*/, float /*rival*/) {}
    /// The rest that is sound, knowing how the answer ended. Once, unless feed() said enough.
    virtual std::string finish(engine::FinishReason reason) = 0;

    /// Of all tokens so far.
    [[nodiscard]] const Evidence& evidence() const { return evidence_; }

  protected:
    virtual GateAnswer take(std::string_view text) = 0;
    void count(float probability, float rival);

  private:
    Evidence evidence_;
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
/// an answer that was cut by a limit still ends with a sentence. It ends before the first of them
/// that the model is not sure of, or that says the same over and over, and does not begin with
/// code.
class ExplainGate final : public TextGate {
  public:
    struct Options {
        std::vector<std::string> stops;
        /// Least geometric mean of the probabilities of all tokens up to a sentence's end; 0: none,
        /// and no check.
        double confidence_min = 0.0;
    };
    explicit ExplainGate(Options options)
        : stops_(std::move(options.stops)),
          confidence_min_(options.confidence_min) {}

    std::string finish(engine::FinishReason reason) override;

  private:
    GateAnswer take(std::string_view text) override;
    std::string release(std::size_t end);

    StopStrings stops_;
    const double confidence_min_;
    std::string held_;
    bool is_begun_ = false;
    bool is_refused_ = false;
};

/// The corrected text for a marked line: all or nothing, released at the end.
class FixGate final : public TextGate {
  public:
    struct Options {
        std::string before, marked, after;  ///< the answer replaces `marked`
        std::string language = {};
        bool may_have_fence = false;  ///< a chat model: code may stand in a fence
        std::vector<std::string> stops = {};
        double probability_min = 0.0;  ///< of the whole answer; 0: none, and no check
    };
    explicit FixGate(Options options) : options_(std::move(options)), stops_(options_.stops) {}

    std::string finish(engine::FinishReason reason) override;

    /// What the model answered, shown or not, for reports.
    [[nodiscard]] const std::string& answer() const { return answer_; }
    [[nodiscard]] Fault fault() const { return fault_; }

  private:
    GateAnswer take(std::string_view text) override;
    std::string judge(std::string_view text);

    const Options options_;
    StopStrings stops_;
    std::string text_;
    std::string answer_;
    Fault fault_ = Fault::none;
};

/// The answer to a fix as it may stand in the document: fence and trailing newlines dropped, the
/// marked text's indentation where the answer has none. Empty when nothing is changed but trailing
/// blank space.
std::string tidy_fix(std::string_view answer, std::string_view marked, bool may_have_fence);

/// What is wrong with `fixed` in place of `marked`; a fault that the marked line has itself counts
/// only where it got worse.
Fault find_fix_fault(const FixGate::Options& place, std::string_view fixed);

}  // namespace hearth::assist
