// What the product shows at a cursor, says of a function and makes of a line, and why: the same
// prompts, engine, gates and choice as behind an editor, without deadlines, so that the result does
// not depend on the load of the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/assist/answer_stream.h"
#include "core/assist/completion_gate.h"
#include "core/assist/fix_search.h"
#include "core/assist/infill_prompt.h"
#include "core/assist/line_search.h"
#include "core/assist/prompt_format.h"
#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/tokenizer/tokenizer.h"
#include "training/evaluation/open_context.h"

namespace hearth::evaluation {

/// A file that is open beside the one with the cursor.
struct OpenFile {
    std::string path, text;
};

/// A cursor in a file.
struct LineCase {
    std::string path, language, prefix, suffix;
    std::uint32_t lines_max = 1;
    std::string project = {};               ///< its name
    std::vector<OpenFile> open_files = {};  ///< of it and of this language, latest used first
};

struct LineAnswer {
    assist::Decision decision;  ///< on the first line, whatever its probability
    std::string model;          ///< all lines as the model said them up to their end, sound or not
    assist::Evidence greedy;    ///< the first of these lines' tokens
    std::string product;        ///< what would be shown, were every probability high enough
    std::string automatic;      ///< what is shown while one types
    std::string invoked;        ///< what is shown where one asks for it
    std::vector<assist::CopyOffer> copies;
};

/// The copies alone, and the choice among them.
LineAnswer copy_line(const LineCase& cursor);

/// A function without its documentation.
struct ExplainCase {
    std::string path, code;
};

struct ExplainAnswer {
    std::string answer;  ///< all that the model said
    std::string shown;
    float confidence = 0.0F;  ///< geometric mean of the probabilities of its tokens
};

/// A line and what stands around it; `before` and `after` are whole lines with their ends.
struct FixCase {
    std::string path, language, before, line, after;
};

struct FixAnswer {
    std::string answer;  ///< the model's line; empty where it changes nothing or was cut
    assist::Fault fault = assist::Fault::none;  ///< of the answer
    assist::FoundFix found;                     ///< the likeliest change, however unlikely
    std::string shown;
    std::string shown_if_wrong;  ///< where a diagnostic names the line
};

/// Thread: one at a time.
class Product {
  public:
    /// `backend` outlives it.
    ///
    ///   plugins   folder of those that show the model the open files; empty: nobody does
    ///
    /// Errors: unsupported (no fill-in-the-middle tokens), those of Tokenizer::from_gguf, of
    /// Engine::make and of OpenContext::make.
    static Result<std::unique_ptr<Product>> make(std::shared_ptr<const model::Model> model,
                                                 compute::Backend& backend,
                                                 const std::string& plugins);

    /// Errors: too_large (a context that holds no prompt), those of the tokenizer and the engine.
    Result<LineAnswer> complete_line(const LineCase& cursor);
    /// Errors: also unsupported (the model was not made to explain).
    Result<ExplainAnswer> explain(const ExplainCase& function);
    /// Errors: as explain().
    Result<FixAnswer> fix(const FixCase& place);

  private:
    Product() = default;

    struct Answer {
        std::string text;                              ///< released by the gate
        std::shared_ptr<assist::AnswerStream> stream;  ///< keeps the gate
    };
    /// A cursor's prompt and the gates' options, which borrow the texts of the case.
    struct Line {
        assist::InfillPrompt prompt;
        assist::CompletionGateOptions gate;
        std::string next;  ///< what lines are judged by; empty: they are not
        std::int32_t tokens_max = 0;
    };
    /// Runs to the end of the answer.
    Result<Answer> generate(engine::Request request,
                            std::unique_ptr<assist::TextGate> gate,
                            std::span<const engine::TokenEvent> known = {});
    /// Goes on with a line that begins with `known`.
    Result<Answer> go_on(const Line& line,
                         std::span<const engine::TokenEvent> known,
                         std::unique_ptr<assist::TextGate> gate);
    Result<Line> make_line(const LineCase& cursor);
    Result<void> search(Line& line, std::vector<engine::TokenEvent> first, LineAnswer& answer);
    /// The same search as in core/assist, without a limit of time.
    Result<assist::FoundLine> find(const Line& line, assist::SaidLine first);
    /// For an explanation or a fix.
    [[nodiscard]] Result<engine::Request> make_request(
        plugin_host::GenerateTask task, std::span<const plugin_host::Part> parts) const;
    std::vector<assist::LogProbabilities> judge(std::vector<assist::JudgedPrompt> prompts,
                                                engine::Priority priority);
    [[nodiscard]] std::vector<std::string> stop_strings() const;

    // Fixed after construction.
    SteadyClock clock_;
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
    std::unique_ptr<assist::PromptFormat> format_;
    std::unique_ptr<engine::Engine> engine_;
    std::unique_ptr<OpenContext> open_context_;  ///< null: none is shown
};

}  // namespace hearth::evaluation
